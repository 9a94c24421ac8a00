// Containerd's own suite of snapshotters, run through its client of remote ones.
package suite

import (
	"context"
	"flag"
	"testing"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/snapshots"
	"github.com/containerd/containerd/snapshots/proxy"
	"github.com/containerd/containerd/snapshots/testsuite"
	"google.golang.org/grpc"
)

var address = flag.String("address", "", "the socket of the service")

func TestService(t *testing.T) {
	connection, err := grpc.Dial("unix://"+*address, grpc.WithInsecure())
	if err != nil {
		t.Fatal(err)
	}
	// The cases run when this function has returned, one beside another.
	t.Cleanup(func() { connection.Close() })
	client := snapshotsapi.NewSnapshotsClient(connection)
	testsuite.SnapshotterSuite(t, "veneer", func(context.Context, string) (snapshots.Snapshotter, func() error, error) {
		return proxy.NewSnapshotter(client, "veneer"), func() error { return nil }, nil
	})
}
