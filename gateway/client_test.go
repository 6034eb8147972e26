package gateway

import (
	"errors"
	"net/http/httptest"
	"testing"

	"github.com/micelio/micelio/gateway/gatewaytest"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

const testBucket = "micelio"

// serve starts a server of the dialect over store.
func serve(t *testing.T, cfg Config) *httptest.Server {
	t.Helper()
	cfg.Bucket, cfg.Node = testBucket, "node-1"
	if cfg.Region == "" {
		cfg.Region = "eu-central-1"
	}
	s := httptest.NewUnstartedServer(New(cfg))
	s.Config.DisableGeneralOptionsHandler = true
	s.Start()
	t.Cleanup(s.Close)
	return s
}

func TestTheDialectCarriesAWholeStore(t *testing.T) {
	for name, c := range map[string]gatewaytest.Client{
		"plain bodies, ListObjectsV2":        {},
		"signed chunks, ListObjects":         {Framing: gatewaytest.Signed, V1: true},
		"chunks with a trailer, raw listing": {Framing: gatewaytest.Trailer, RawNames: true},
	} {
		t.Run(name, func(t *testing.T) {
			objecttest.Test(t, func(t *testing.T) object.Store {
				c := c
				c.Base = serve(t, Config{Store: newMemStore()}).URL + "/" + testBucket
				return &c
			})
		})
	}
}

func TestAClientCanTellTheErrorsOfAStoreApart(t *testing.T) {
	kinds := []error{
		object.ErrNotFound, object.ErrPrecondition, object.ErrRange, object.ErrTooLarge, object.ErrInvalidKey,
		object.ErrDigest, object.ErrConflict, object.ErrUnavailable, object.ErrUnknownOutcome,
	}
	for _, want := range kinds {
		c := gatewaytest.Client{Base: serve(t, Config{Store: failingStore{newMemStore(), want}}).URL + "/" + testBucket}
		_, err := c.Put(t.Context(), "k", object.BytesSource(nil), object.PutOptions{})
		for _, kind := range kinds {
			if errors.Is(err, kind) != (kind == want) {
				t.Errorf("%v became %v", want, err)
			}
		}
	}
}
