// Docker's own suite of graph drivers, run through its client of plugins.
package suite

import (
	"flag"
	"path/filepath"
	"testing"

	"github.com/docker/docker/daemon/graphdriver"
	"github.com/docker/docker/daemon/graphdriver/graphtest"
	"github.com/docker/docker/pkg/idtools"
	"github.com/docker/docker/pkg/plugingetter"
	"github.com/docker/docker/pkg/plugins"
)

var (
	address = flag.String("address", "", "the socket of the plugin")
	quota   = flag.Bool("quota", false, "whether layers here can have a size")
)

// The driver that the suite asks for; it has no way to a plugin of its own.
const driver = "suite"

type plugin struct{ client *plugins.Client }

func (plugin) Name() string                  { return "veneer" }
func (plugin) ScopedPath(path string) string { return path }
func (plugin) IsV1() bool                    { return true }
func (p plugin) Client() *plugins.Client     { return p.client }

type getter struct{ plugin }

func (g getter) Get(string, string, int) (plugingetter.CompatPlugin, error) { return g.plugin, nil }
func (getter) GetAllByCap(string) ([]plugingetter.CompatPlugin, error)      { return nil, nil }
func (getter) GetAllManagedPluginsByCap(string) []plugingetter.CompatPlugin { return nil }
func (getter) Handle(string, func(string, *plugins.Client))                 {}

func open(root string, options []string, uids, gids []idtools.IDMap) (graphdriver.Driver, error) {
	client, err := plugins.NewClient("unix://"+*address, nil)
	if err != nil {
		return nil, err
	}
	return graphdriver.GetDriver("veneer", getter{plugin{client}}, graphdriver.Options{
		Root: filepath.Dir(root), DriverOptions: options, UIDMaps: uids, GIDMaps: gids, ExperimentalEnabled: true,
	})
}

func TestPlugin(t *testing.T) {
	if err := graphdriver.Register(driver, open); err != nil {
		t.Fatal(err)
	}
	// Kept to the end: it would delete the store's directory under the plugin.
	graphtest.GetDriver(t, driver)
	t.Run("CreateEmpty", func(t *testing.T) { graphtest.DriverTestCreateEmpty(t, driver) })
	t.Run("CreateBase", func(t *testing.T) { graphtest.DriverTestCreateBase(t, driver) })
	t.Run("CreateSnap", func(t *testing.T) { graphtest.DriverTestCreateSnap(t, driver) })
	t.Run("DeepLayerRead", func(t *testing.T) { graphtest.DriverTestDeepLayerRead(t, 128, driver) })
	t.Run("DiffApply", func(t *testing.T) { graphtest.DriverTestDiffApply(t, 10, driver) })
	t.Run("Changes", func(t *testing.T) { graphtest.DriverTestChanges(t, driver) })
	if *quota {
		t.Run("SetQuota", func(t *testing.T) { graphtest.DriverTestSetQuota(t, driver, true) })
	}
}
