package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/object/objecttest"
)

// held is what a peer has at hand, and counts what it is asked for.
type held struct {
	objecttest.Memory
	asked []object.GetOptions
}

func (h *held) GetCached(ctx context.Context, key object.Key, opt object.GetOptions) (*object.Object, bool) {
	h.asked = append(h.asked, opt)
	obj, err := h.Memory.Get(ctx, key, opt)
	return obj, err == nil
}

func (h *held) HeadCached(key object.Key) (object.Info, bool) {
	info, err := h.Memory.Head(context.Background(), key, object.HeadOptions{})
	return info, err == nil
}

// cachedClient serves what a peer has at hand, and a Store that nobody may ask.
func cachedClient(t *testing.T, cached CachedReader) *Client {
	addr := serve(t, NewHandler(untouchable{}, HandlerConfig{Node: "owner", Cluster: testConfig.Cluster, Cached: cached}))
	return poolOf(t, testConfig).Client(addr)
}

func TestACachedReadIsAnsweredWithoutTheStore(t *testing.T) {
	h := new(held)
	info, err := h.Put(t.Context(), "a key", object.BytesSource([]byte("0123456789")), object.PutOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := cachedClient(t, h)
	for part, want := range map[object.Range]string{{}: "0123456789", object.Bytes(2, 3): "234", object.Suffix(1): "9"} {
		obj, err := c.GetCached(t.Context(), "a key", object.GetOptions{Range: part, IfMatch: object.MatchETag(info.ETag)})
		if err != nil {
			t.Fatalf("%v: %v", part, err)
		}
		body, err := io.ReadAll(obj.Body)
		obj.Body.Close()
		if err != nil || string(body) != want || obj.ETag != info.ETag || obj.Size != 10 {
			t.Errorf("%v: %q of %+v, %v; want %q", part, body, obj.Info, err, want)
		}
	}
	got, err := c.HeadCached(t.Context(), "a key")
	if err != nil || got.ETag != info.ETag || got.Node != "owner" {
		t.Errorf("its description: %+v, %v", got, err)
	}
}

func TestWhatIsNotCachedIsNotCached(t *testing.T) {
	h := new(held)
	for name, c := range map[string]*Client{"nothing there": cachedClient(t, h), "nothing is ever": cachedClient(t, nil)} {
		_, err := c.GetCached(t.Context(), "a key", object.GetOptions{})
		wantErr(t, name+", get", err, ErrNotCached, object.ErrUnavailable)
		_, err = c.HeadCached(t.Context(), "a key")
		wantErr(t, name+", head", err, ErrNotCached, object.ErrUnavailable)
		_, err = c.GetCached(t.Context(), "no//key", object.GetOptions{})
		wantErr(t, name+", no key", err, object.ErrInvalidKey)
	}
	if len(h.asked) != 1 || h.asked[0].Range.IsSet() || h.asked[0].IfMatch.IsSet() || h.asked[0].IfNoneMatch.IsSet() {
		t.Errorf("asked for %+v", h.asked)
	}
	c := poolOf(t, testConfig).Client(deadAddr(t))
	_, err := c.GetCached(t.Context(), "a key", object.GetOptions{})
	wantErr(t, "a dead peer", err, object.ErrUnavailable, ErrUnreachable)
}

// Who has not got an object names those whom it would ask itself.
func TestWhoHasNothingNamesOthers(t *testing.T) {
	named := []string{"node-1", "node-2", "node-3", "node-4", "node-5"}
	addr := serve(t, NewHandler(untouchable{}, HandlerConfig{
		Cluster: testConfig.Cluster, Cached: new(held), Previous: func(object.Key) []string { return named },
	}))
	c := poolOf(t, testConfig).Client(addr)
	_, err := c.GetCached(t.Context(), "a key", object.GetOptions{})
	var absent *NotCachedError
	if !errors.As(err, &absent) || !slices.Equal(absent.Previous, named[:maxNamed]) {
		t.Errorf("%v names %v, want %v", err, absent, named[:maxNamed])
	}
	_, err = c.HeadCached(t.Context(), "a key")
	if !errors.As(err, &absent) || !slices.Equal(absent.Previous, named[:maxNamed]) {
		t.Errorf("%v names %v, want %v", err, absent, named[:maxNamed])
	}
}

// A node of a version that knows no cached reads must not take one for another
// read, which it would answer from its upstream.
func TestTheMarkOfACachedReadIsOneThatOthersRefuse(t *testing.T) {
	if _, err := decodeGet(string(markCached(encodeGet(object.GetOptions{Range: object.Suffix(3)})))); err == nil {
		t.Error("a decoder that does not know the mark passes over it")
	}
	for _, opt := range []object.GetOptions{{}, {Range: object.Suffix(3)}, {IfMatch: object.MatchETag("e"), Range: object.From(1)}} {
		want := string(encodeGet(opt))
		if rest, ok := cutCached(string(markCached([]byte(want)))); !ok || rest != want {
			t.Errorf("%q comes back as %q, %v", want, rest, ok)
		}
		if rest, ok := cutCached(want); ok || rest != want {
			t.Errorf("%q has no mark and comes back as %q, %v", want, rest, ok)
		}
	}
}

func TestAHandoverArrivesInPieces(t *testing.T) {
	var keys, got []object.Key
	for i := range 700 {
		keys = append(keys, object.Key(fmt.Sprintf("cache/%% &=/%d", i)))
	}
	for i := range 5 {
		keys = append(keys, object.Key(strings.Repeat("é", object.MaxKeyLen/4)+fmt.Sprint(i)))
	}
	addr := serve(t, NewHandler(untouchable{}, HandlerConfig{
		Cluster: testConfig.Cluster, Handover: func(_ context.Context, keys []object.Key) bool { got = append(got, keys...); return true },
	}))
	c := poolOf(t, testConfig).Client(addr)
	for rest := keys; len(rest) > 0; {
		told, err := c.Handover(t.Context(), rest)
		if err != nil || told < 1 {
			t.Fatalf("of %d: told of %d, %v", len(rest), told, err)
		}
		rest = rest[told:]
	}
	if !slices.Equal(got, keys) {
		t.Errorf("%d keys arrive, want %d as they were sent", len(got), len(keys))
	}
	if told, err := c.Handover(t.Context(), nil); told != 0 || err != nil {
		t.Errorf("of nothing: told of %d, %v", told, err)
	}
}

func TestAPeerThatHasEnoughOfAHandoverSaysSo(t *testing.T) {
	c := poolOf(t, testConfig).Client(serve(t, NewHandler(untouchable{}, HandlerConfig{
		Cluster: testConfig.Cluster, Handover: func(context.Context, []object.Key) bool { return false },
	})))
	told, err := c.Handover(t.Context(), []object.Key{"a"})
	if told != 0 || !Answered(err) {
		t.Errorf("told of %d, %v", told, err)
	}
	wantErr(t, "the last", err, object.ErrUnavailable)
}

func TestAHandoverThatNobodyTakesIsNoError(t *testing.T) {
	c := clientOf(t, untouchable{})
	if told, err := c.Handover(t.Context(), []object.Key{"a"}); told != 1 || err != nil {
		t.Errorf("told of %d, %v", told, err)
	}
	_, err := poolOf(t, testConfig).Client(deadAddr(t)).Handover(t.Context(), []object.Key{"a"})
	wantErr(t, "a dead peer", err, object.ErrUnavailable, ErrUnreachable)
	old := poolOf(t, testConfig).Client(serve(t, http.NotFoundHandler()))
	_, err = old.Handover(t.Context(), []object.Key{"a"})
	wantErr(t, "a stranger", err, object.ErrUnavailable, ErrUnreachable)
}
