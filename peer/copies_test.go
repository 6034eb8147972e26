package peer

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/micelio/micelio/object"
)

func TestAPeerSaysWhatItHasAndAsksNobody(t *testing.T) {
	have := map[object.Key][]Copy{
		"a & b=ü": {
			{Tier: object.TierSSD, Size: 1 << 40, ETag: `"x&y"`, Age: 3 * time.Hour},
			{Tier: object.TierRAM, Size: 0, ETag: `"0"`, Whole: true},
		},
	}
	h := NewHandler(untouchable{}, HandlerConfig{
		Node: "theirs", Cluster: testConfig.Cluster, Copies: func(key object.Key) []Copy { return have[key] },
	})
	c := poolOf(t, testConfig).Client(serve(t, h))
	got, err := c.Copies(t.Context(), "a & b=ü")
	if want := []Copy{have["a & b=ü"][1], have["a & b=ü"][0]}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	if got, err := c.Copies(t.Context(), "another"); err != nil || len(got) != 0 {
		t.Errorf("of what it has not: %+v, %v", got, err)
	}
	if _, err := c.Copies(t.Context(), ""); !errors.Is(err, object.ErrInvalidKey) {
		t.Errorf("of no key: %v", err)
	}
}

func TestAPeerNamesItsViewOfTheRing(t *testing.T) {
	cfg := HandlerConfig{Node: "theirs", Cluster: testConfig.Cluster}
	c := poolOf(t, testConfig).Client(serve(t, NewHandler(untouchable{}, cfg)))
	if epoch, err := c.Epoch(t.Context()); !errors.Is(err, ErrNoEpoch) {
		t.Errorf("of a peer without one: %x, %v", epoch, err)
	}
	cfg.Epoch = func() uint64 { return 0xfedcba9876543210 }
	c = poolOf(t, testConfig).Client(serve(t, NewHandler(untouchable{}, cfg)))
	if epoch, err := c.Epoch(t.Context()); err != nil || epoch != cfg.Epoch() {
		t.Errorf("got %x, %v", epoch, err)
	}
}

func FuzzCopiesAreReadAsTheyWereWritten(f *testing.F) {
	f.Add("ram=age%3D1%26etag%3D%2522x%2522%26size%3D5&ssd=age%3D0%26etag%3D%26part%3D1%26size%3D0")
	f.Add("")
	f.Fuzz(func(t *testing.T, s string) {
		copies, err := decodeCopies(s)
		if err != nil {
			return
		}
		again, err := decodeCopies(string(encodeCopies(copies)))
		if err != nil || !slices.Equal(again, copies) {
			t.Errorf("%+v became %+v, %v", copies, again, err)
		}
	})
}
