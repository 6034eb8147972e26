package origin_test

import (
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
	"github.com/micelio/micelio/origin"
)

// With every key immutable all reads of whole objects are tried at the CDN, and
// the suite overwrites and deletes: Head and proof must hold it to the truth.
func TestACDNIsAStore(t *testing.T) {
	classes, err := object.NewClasses(nil, []string{"**"})
	must(t, err)
	var mu sync.Mutex
	var all []*origin.CDN
	objecttest.Test(t, func(t *testing.T) object.Store {
		local := openLocal(t, t.TempDir())
		c, err := origin.NewCDN(local, classes, origin.CDNConfig{BaseURL: newEdge(t, local).url, AllowPrivate: true})
		must(t, err)
		t.Cleanup(func() { c.Close() })
		mu.Lock()
		defer mu.Unlock()
		all = append(all, c)
		return c
	})
	var hits int64
	for _, c := range all {
		hits += c.Stats().Hits
	}
	if hits < 50 {
		t.Errorf("only %d reads of the suite came from the CDN", hits)
	}
}

func TestAVerifiedKeyNeedsNoAuthority(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	for i, size := range []int{0, 1, cdnSmall, origin.CDNWhole} {
		key, body := r.verified(uint64(i), size)
		want, err := r.spy.Store.Head(t.Context(), key, object.HeadOptions{})
		must(t, err)
		got := r.wantRead(key, body, object.TierCDN)
		if got.ETag != want.ETag || got.SHA256 != want.SHA256 || got.Size != want.Size || cmp.Diff(got.Attrs, want.Attrs) != "" {
			t.Errorf("%d bytes: %+v, want %+v", size, got, want)
		}
	}
	if gets, heads := r.spy.gets.Load(), r.spy.heads.Load(); gets != 0 || heads != 0 {
		t.Errorf("upstream was asked %d Gets and %d Heads", gets, heads)
	}
	r.spy.down.Store(true)
	key, body := r.verified(9, cdnLarge)
	r.wantRead(key, body, object.TierCDN)
	if hits := r.Stats().Hits; hits != 5 {
		t.Errorf("%d hits, want 5", hits)
	}
}

// What else is said about an object is the authority's word, if it can be had
// for the price of a Head where the ETag is not proven by the bytes.
func TestTheAuthorityDescribesTheObject(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	r.edge.act(func(w http.ResponseWriter, q *http.Request, honest http.Handler) {
		rec := httptest.NewRecorder()
		honest.ServeHTTP(rec, q)
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.Header().Set("Content-Type", "text/html")
		w.Header().Set("X-Amz-Meta-Owner", "them")
		w.Header().Set("ETag", `"5f-made-by-the-edge"`)
		w.Header().Set("Age", "17")
		w.Write(rec.Body.Bytes())
	})
	for name, of := range map[string]func(uint64, int) (object.Key, []byte){"verified": r.verified, "immutable": r.immutable} {
		for _, size := range []int{cdnSmall, cdnLarge} {
			heads := r.spy.heads.Load()
			key, body := of(3, size)
			want, err := r.spy.Store.Head(t.Context(), key, object.HeadOptions{})
			must(t, err)
			got := r.wantRead(key, body, object.TierCDN)
			if got.Age.Seconds() != 17 {
				t.Errorf("%s: age %v, want the CDN's 17 s", name, got.Age)
			}
			got.Age, got.Tier = 0, want.Tier
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s of %d bytes: %s", name, size, diff)
			}
			if n := r.spy.heads.Load() - heads; n != 1 {
				t.Errorf("%s of %d bytes: %d Heads, want 1", name, size, n)
			}
		}
	}
	if gets := r.spy.gets.Load(); gets != 0 {
		t.Errorf("%d Gets upstream", gets)
	}

	// The CDN's word has to do where upstream has something else than what was just
	// proven, and where it is away.
	r.spy.describe(func(i *object.Info) { i.Size-- })
	key, body := r.verified(6, cdnSmall)
	if got := r.wantRead(key, body, object.TierCDN); got.Size != cdnSmall || got.ContentType != "text/html" {
		t.Errorf("upstream has a damaged copy, and the description is %+v", got)
	}
	key, body = r.verified(7, cdnLarge)
	r.wantRead(key, body, object.TierOrigin)
	r.wantMisses(origin.CDNStale, 1)

	r.spy.down.Store(true)
	key, body = r.verified(4, cdnSmall)
	if got := r.wantRead(key, body, object.TierCDN); got.ContentType != "text/html" || got.User["owner"] != "them" {
		t.Errorf("without upstream the description is %+v, want the CDN's", got)
	}
	key, _ = r.immutable(5, cdnSmall)
	_, _, err := readCDN(t.Context(), r.CDN, key)
	wantErr(t, err, object.ErrUnavailable)
}

// Without a strong ETag the CDN's word is no description.
func TestAnETagThatIsMissingIsAskedForUpstream(t *testing.T) {
	t.Parallel()
	for i, header := range []string{"", `W/"%"`, `"not closed`} {
		r := newCDNRig(t)
		r.edge.act(forge(func(h http.Header, b []byte) (int, []byte) {
			h.Del("ETag")
			if header != "" {
				h.Set("ETag", strings.Replace(header, "%", md5Hex(b), 1))
			}
			return http.StatusOK, b
		}))
		key, body := r.verified(uint64(i), cdnSmall)
		if got := r.wantRead(key, body, object.TierCDN); string(got.ETag) != md5Hex(body) || r.spy.heads.Load() != 1 {
			t.Errorf("ETag %q after %d Heads", got.ETag, r.spy.heads.Load())
		}
		r.spy.describe(func(i *object.Info) { i.Size++ }) // upstream's copy is damaged
		r.wantRead(key, body, object.TierOrigin)
		r.spy.down.Store(true)
		_, _, err := readCDN(t.Context(), r.CDN, key)
		wantErr(t, err, object.ErrUnavailable)
		if s := r.Stats(); s.Bypassed != 0 || s.InFlight != 0 {
			t.Errorf("%+v", s)
		}
	}
}

func TestAnImmutableKeyIsProvenByWhatUpstreamSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		say  func(*object.Info)
		tier object.Tier
		bad  int64
	}{
		"its SHA-256":                    {func(*object.Info) {}, object.TierCDN, 0},
		"only an MD5":                    {func(i *object.Info) { i.SHA256 = object.Digest{} }, object.TierCDN, 0},
		"only the ETag of an upload":     {func(i *object.Info) { i.SHA256, i.ETag = object.Digest{}, "0123456789abcdef0123456789abcdef-2" }, object.TierOrigin, 0},
		"only an ETag that is no MD5":    {func(i *object.Info) { i.SHA256, i.ETag = object.Digest{}, "0123456789ABCDEF0123456789ABCDEF" }, object.TierOrigin, 0},
		"another SHA-256":                {func(i *object.Info) { i.SHA256[0]++ }, object.TierOrigin, 1},
		"that it was written compressed": {func(i *object.Info) { i.ContentEncoding = "zstd" }, object.TierOrigin, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newCDNRig(t)
			r.spy.describe(c.say)
			key, body := r.immutable(1, cdnSmall)
			r.wantRead(key, body, c.tier)
			if s := r.Stats(); s.Bad != c.bad || s.InFlight != 0 {
				t.Errorf("%+v, want %d bad and none under way", s, c.bad)
			}
			if asked := r.edge.asked.Load(); asked != 0 && c.tier == object.TierOrigin && c.bad == 0 {
				t.Error("the CDN was asked for what could not be proven")
			}
		})
	}
}

func TestWhatACDNCannotProveIsReadUpstream(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	verified, body := r.verified(1, cdnSmall)
	immutable, _ := r.immutable(2, cdnSmall)
	r.put("sessions/1/head", []byte("mutable"))
	etag := object.MatchETag(r.wantRead("sessions/1/head", []byte("mutable"), object.TierOrigin).ETag)
	for _, key := range []object.Key{verified, immutable, "sessions/1/head"} {
		for _, opt := range []object.GetOptions{{Range: object.Bytes(1, 5)}, {Range: object.From(0)}, {Range: object.Suffix(3), IfMatch: object.MatchAny()}} {
			obj, err := r.Get(t.Context(), key, opt)
			must(t, err)
			obj.Body.Close()
		}
		if _, err := r.Head(t.Context(), key, object.HeadOptions{}); err != nil {
			t.Error(err)
		}
	}
	_, err := r.Get(t.Context(), verified, object.GetOptions{IfNoneMatch: object.MatchAny()})
	wantErr(t, err, object.ErrNotModified)
	_, err = r.Get(t.Context(), "sessions/1/head", object.GetOptions{IfNoneMatch: etag})
	wantErr(t, err, object.ErrNotModified)
	wantNames(t, r.CDN, object.ListOptions{}, string(verified), string(immutable), "sessions/1/head")
	put(t, r.CDN, verified, string(body), object.PutOptions{})
	must(t, r.Delete(t.Context(), verified, object.DeleteOptions{}))
	_, err = r.Get(t.Context(), "artifacts//x", object.GetOptions{})
	wantErr(t, err, object.ErrInvalidKey)
	if n := r.edge.asked.Load(); n != 0 {
		t.Errorf("the CDN was asked %d times, last %s", n, r.edge.lastRequest().URL)
	}
}

func TestAConditionIsTestedAgainstTheRightVersion(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	other := object.MatchETag("0123")
	for _, size := range []int{cdnSmall, cdnLarge} {
		for name, of := range map[string]func(uint64, int) (object.Key, []byte){"verified": r.verified, "immutable": r.immutable} {
			key, body := of(1, size)
			is := object.MatchETag(r.wantRead(key, body, object.TierCDN).ETag)
			for _, match := range []object.Match{is, object.MatchAny()} {
				obj, err := r.Get(t.Context(), key, object.GetOptions{IfMatch: match})
				if err != nil || obj.Tier != object.TierCDN {
					t.Fatalf("%s, If-Match %s: %+v, %v", name, match, obj, err)
				}
				obj.Body.Close()
			}
			_, err := r.Get(t.Context(), key, object.GetOptions{IfMatch: other})
			wantErr(t, err, object.ErrPrecondition)
			_, err = r.Get(t.Context(), key, object.GetOptions{IfNoneMatch: is})
			wantErr(t, err, object.ErrNotModified)
			r.wantRead(key, body, object.TierCDN) // nobody is bypassed for a condition
		}
	}
}

func TestACDNLearnsTheKeyAndNothingElse(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t, func(cfg *origin.CDNConfig) { cfg.BaseURL += "/base%20path/" })
	r.edge.act(func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		http.NotFound(w, nil)
	})
	for key, want := range map[object.Key]string{
		"derivations/sha256:a+b":                      "/base%20path/derivations/sha256%3Aa%2Bb",
		"cache/x/sha256:1/ü/100% & ?a=b#c;d,e@f$!'()": "/base%20path/cache/x/sha256%3A1/%C3%BC/100%25%20%26%20%3Fa%3Db%23c%3Bd%2Ce%40f%24%21%27%28%29",
		"t/trees/ab/%2e%2e%2f~_-.x":                   "/base%20path/t/trees/ab/%252e%252e%252f~_-.x",
	} {
		for range 2 { // the second time it has a cookie to lose
			r.put(key, []byte("x"))
			r.wantRead(key, []byte("x"), object.TierOrigin)
			q := r.edge.lastRequest()
			if q.RequestURI != want || q.Method != http.MethodGet {
				t.Errorf("%q: %s %s, want %s", key, q.Method, q.RequestURI, want)
			}
			header := http.Header{"Accept-Encoding": {"identity"}, "Cdn-Loop": {"micelio"}, "User-Agent": {"micelio"}}
			if diff := cmp.Diff(header, q.Header); diff != "" {
				t.Errorf("%q: headers %s", key, diff)
			}
		}
	}
	r.wantMisses(origin.CDNAbsent, 6)
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t)
	key, body := r.verified(1, cdnSmall)
	elsewhere := newEdge(t, r.spy.Store)
	for _, status := range []int{301, 302, 303, 307, 308} {
		r.edge.act(func(w http.ResponseWriter, q *http.Request, _ http.Handler) {
			http.Redirect(w, q, elsewhere.url+q.URL.EscapedPath(), status)
		})
		r.wantRead(key, body, object.TierOrigin)
	}
	if elsewhere.asked.Load() != 0 {
		t.Error("a redirect was followed")
	}
	r.wantMisses(origin.CDNStatus, 5)
}

func TestATLSErrorSendsTheReadUpstream(t *testing.T) {
	t.Parallel()
	s := &spy{Store: &objecttest.Memory{}}
	e := &edge{store: s.Store}
	server := httptest.NewUnstartedServer(e)
	server.Config.ErrorLog = discardLog()
	server.StartTLS()
	t.Cleanup(server.Close)
	r := &cdnRig{CDN: openCDN(t, s, server.URL), t: t, edge: e, spy: s}
	key, body := r.verified(1, cdnSmall)
	r.wantRead(key, body, object.TierOrigin)
	r.wantMisses(origin.CDNUnreachable, 1)

	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	trusting := openCDN(t, s, server.URL)
	trusting.Trust(roots)
	(&cdnRig{CDN: trusting, t: t, edge: e, spy: s}).wantRead(key, body, object.TierCDN)
}

func TestReadsBeyondTheCapGoUpstream(t *testing.T) {
	t.Parallel()
	r := newCDNRig(t, func(cfg *origin.CDNConfig) { cfg.Concurrency = 2 })
	small, smallBody := r.verified(1, cdnSmall)
	large, largeBody := r.verified(2, cdnLarge)
	var held []*object.Object
	for _, key := range []object.Key{small, large} {
		obj, err := r.Get(t.Context(), key, object.GetOptions{})
		must(t, err)
		held = append(held, obj)
	}
	r.wantRead(small, smallBody, object.TierOrigin)
	r.wantMisses(origin.CDNBusy, 1)
	for i, obj := range held {
		obj.Body.Close()
		obj.Body.Close() // twice gives nothing back twice
		if n := r.Stats().InFlight; n != len(held)-i-1 {
			t.Errorf("%d under way after %d were closed", n, i+1)
		}
	}
	r.wantRead(small, smallBody, object.TierCDN)
	r.wantRead(large, largeBody, object.TierCDN)
}

func TestNewCDNSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"":                              "no base URL",
		"cdn.example":                   "neither https nor http",
		"ftp://cdn.example":             "neither https nor http",
		"https://":                      "names no host",
		"https:cdn.example":             "names no host",
		"https://u:hunter2@cdn.example": "holds a user",
		"https://u:hunter2@cdn example": "malformed",
		"https://cdn.example/?a=b":      "query or fragment",
		"https://cdn.example/?":         "query or fragment",
		"https://cdn.example/#":         "query or fragment",
		"http://cdn.example":            "not https",
		"http://localhost.example":      "not https",
		"https://10.0.0.1":              "private address",
		"http://127.0.0.1:8080":         "private address",
		"https://[::1]":                 "private address",
		"https://169.254.169.254":       "link-local",
	} {
		_, err := origin.NewCDN(&objecttest.Memory{}, defaultClasses(t), origin.CDNConfig{BaseURL: url})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: error %v, want one that says %q", url, err, want)
		}
	}
	_, err := origin.NewCDN(&objecttest.Memory{}, defaultClasses(t), origin.CDNConfig{BaseURL: "ftp://x", Timeout: -1, Concurrency: -1})
	for _, want := range []string{"neither https", "timeout of", "concurrency of"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %q", err, want)
		}
	}
	for _, cfg := range []origin.CDNConfig{
		{BaseURL: "https://cdn.example"}, {BaseURL: "https://cdn.example:8443/a/b/"}, {BaseURL: "http://localhost:1"},
		{BaseURL: "http://cdn.example", AllowHTTP: true}, {BaseURL: "https://10.0.0.1", AllowPrivate: true}, {BaseURL: "http://[::1]:1", AllowPrivate: true},
	} {
		c, err := origin.NewCDN(&objecttest.Memory{}, defaultClasses(t), cfg)
		if err != nil {
			t.Errorf("%+v: %v", cfg, err)
			continue
		}
		must(t, c.Close())
	}
}
