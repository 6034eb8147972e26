package node

import (
	"testing"

	"github.com/micelio/micelio/gateway/gatewaytest"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// A node is a Store for its clients too, with all of its layers behind a socket.
func TestANodeOverHTTPConforms(t *testing.T) {
	objecttest.Test(t, func(t *testing.T) object.Store {
		n := startNode(t, t.TempDir())
		return &gatewaytest.Client{Base: "http://" + n.Addr() + "/micelio"}
	})
}
