package origin

import (
	"context"
	"net/http"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/micelio/micelio/internal/trail"
)

// setTrail says in a header which trace a request belongs to, if ctx knows of one
// (W3C Trace Context). The id of the client's request goes no further than the
// cluster.
func setTrail(header http.Header, ctx context.Context) {
	t, ok := trail.From(ctx)
	if !ok {
		return
	}
	header.Set("Traceparent", t.Parent())
	if state := t.State(); state != "" {
		header.Set("Tracestate", state)
	}
}

// addTrail makes a client say which trace its requests belong to. It does so after
// the signature, which then does not cover it: tracing proxies between a node and the
// service put ids of their own into the header, and a signature would not survive it.
// SigV4 lets a request have headers that are not signed.
func addTrail(stack *middleware.Stack) error {
	const signing = "Signing"
	if _, signs := stack.Finalize.Get(signing); !signs {
		return nil // it makes a URL for somebody else's request
	}
	return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("Trail",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			if r, ok := in.Request.(*smithyhttp.Request); ok {
				setTrail(r.Header, ctx)
			}
			return next.HandleFinalize(ctx, in)
		}), signing, middleware.After)
}
