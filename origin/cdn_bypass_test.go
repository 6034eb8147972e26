package origin_test

import (
	"net/http"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

// A CDN full of old objects fills no memory, and only the oldest are tried again.
func TestTheBypassedKeysAreBounded(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	r.edge.act(forge(func(_ http.Header, b []byte) (int, []byte) { return http.StatusOK, b[1:] }))
	const more = 10
	for i := range uint64(origin.MaxCDNBypass + more) {
		key, body := r.immutable(i, 20)
		r.wantRead(key, body, object.TierOrigin)
	}
	if s := r.Stats(); s.Bypassed != origin.MaxCDNBypass || s.Misses[origin.CDNStale] != origin.MaxCDNBypass+more || s.AllBypassed || s.Bad != 0 {
		t.Errorf("%+v, want %d bypassed", s, origin.MaxCDNBypass)
	}
	r.edge.acts.Store(nil)
	for i, tier := range map[uint64]object.Tier{0: object.TierCDN, more - 1: object.TierCDN, more: object.TierOrigin, origin.MaxCDNBypass + more - 1: object.TierOrigin} {
		key, body := r.immutable(i, 20)
		r.wantRead(key, body, tier)
	}
}

// An ETag that looks like an MD5 need not be one, so a mismatch condemns the key
// and not the CDN.
func TestAnETagThatIsNoMD5CondemnsNobody(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	r.spy.describe(func(i *object.Info) { i.SHA256, i.ETag = object.Digest{}, "0123456789abcdef0123456789abcdef" })
	r.edge.act(forge(func(h http.Header, b []byte) (int, []byte) {
		h.Set("ETag", `"0123456789abcdef0123456789abcdef"`)
		return http.StatusOK, b
	}))
	for i := range uint64(5) {
		key, body := r.immutable(i, cdnSmall)
		r.wantRead(key, body, object.TierOrigin)
	}
	if s := r.Stats(); s.Bad != 5 || s.Bypassed != 5 || s.AllBypassed {
		t.Errorf("%+v, want 5 bad, 5 bypassed and not all", s)
	}
	key, body := r.verified(1, cdnSmall)
	r.wantRead(key, body, object.TierCDN)
}
