// Package v2 stands for one of Docker's that Debian does not package: plugins that are images, which this is not.
package v2

import (
	"github.com/docker/docker/api/types"
	"github.com/docker/docker/pkg/plugingetter"
)

// Plugin is one that is an image.
type Plugin struct {
	plugingetter.CompatPlugin
	PluginObj types.Plugin
}
