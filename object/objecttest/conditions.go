package objecttest

import (
	"errors"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/micelio/micelio/object"
)

func testConditionalReads(k *kit) {
	info := k.put("cond", []byte("body"), object.PutOptions{})
	is, isNot := object.MatchETag(info.ETag), object.MatchETag("0123")
	for range 2 {
		k.get("cond", object.GetOptions{IfMatch: is})
		k.get("cond", object.GetOptions{IfMatch: object.MatchAny()})
		k.get("cond", object.GetOptions{IfNoneMatch: isNot})
		k.get("cond", object.GetOptions{IfMatch: object.MatchETag("0123", info.ETag), Range: object.From(1)})

		weak, err := object.ParseMatch("W/" + info.ETag.Quoted())
		if err != nil {
			k.Fatal(err)
		}
		for _, m := range []object.Match{isNot, weak} {
			_, err := k.getErr("cond", object.GetOptions{IfMatch: m})
			k.wantErr("Get If-Match "+m.String(), err, object.ErrPrecondition)
			_, err = k.store.Head(k.Context(), "cond", object.HeadOptions{IfMatch: m})
			k.wantErr("Head If-Match "+m.String(), err, object.ErrPrecondition)
		}
		for _, m := range []object.Match{is, weak, object.MatchAny()} {
			_, err := k.getErr("cond", object.GetOptions{IfNoneMatch: m, Range: object.From(1)})
			wantNotModified(k, err, info)
			_, err = k.store.Head(k.Context(), "cond", object.HeadOptions{IfNoneMatch: m})
			wantNotModified(k, err, info)
		}
	}
	_, err := k.getErr("absent", object.GetOptions{IfMatch: is})
	k.wantErr("Get If-Match of nothing", err, object.ErrNotFound)
}

func wantNotModified(k *kit, err error, want object.Info) {
	k.Helper()
	k.wantErr("If-None-Match", err, object.ErrNotModified)
	var nm *object.NotModifiedError
	if !errors.As(err, &nm) || nm.Info.ETag != want.ETag || nm.Info.Version != want.Version {
		k.Errorf("not modified does not say what is current: %+v", err)
	}
}

func testConditionalWrites(k *kit) {
	create := object.PutOptions{IfNoneMatch: object.MatchAny()}
	swap := func(e object.ETag) object.PutOptions { return object.PutOptions{IfMatch: object.MatchETag(e)} }
	body := object.BytesSource([]byte("should not be stored"))

	_, err := k.store.Put(k.Context(), "cas", body, swap("0123"))
	k.wantErr("If-Match on nothing", err, object.ErrNotFound)
	k.wantMissing("cas")

	one := k.put("cas", []byte("one"), create)
	_, err = k.store.Put(k.Context(), "cas", body, create)
	k.wantErr("creating it again", err, object.ErrPrecondition)

	two := k.put("cas", []byte("two"), swap(one.ETag))
	_, err = k.store.Put(k.Context(), "cas", body, swap(one.ETag))
	k.wantErr("If-Match of an old version", err, object.ErrPrecondition)
	weak, _ := object.ParseMatch("W/" + two.ETag.Quoted())
	_, err = k.store.Put(k.Context(), "cas", body, object.PutOptions{IfMatch: weak})
	k.wantErr("If-Match by a weak tag", err, object.ErrPrecondition)
	k.wantBody("cas", []byte("two"))

	k.put("cas", []byte("three"), object.PutOptions{IfMatch: object.MatchAny()})
	k.wantBody("cas", []byte("three"))
}

func testDeletes(k *kit) {
	info := k.put("del/x", []byte("x"), object.PutOptions{})
	k.wantErr("Delete If-Match of another version",
		k.store.Delete(k.Context(), "del/x", object.DeleteOptions{IfMatch: object.MatchETag("0123")}), object.ErrPrecondition)
	k.wantBody("del/x", []byte("x"))
	if err := k.store.Delete(k.Context(), "del/x", object.DeleteOptions{IfMatch: object.MatchETag(info.ETag)}); err != nil {
		k.Fatal(err)
	}
	k.wantMissing("del/x")
	if err := k.store.Delete(k.Context(), "del/x", object.DeleteOptions{}); err != nil {
		k.Errorf("Delete of nothing: %v", err)
	}
	k.wantErr("Delete If-Match of nothing",
		k.store.Delete(k.Context(), "del/x", object.DeleteOptions{IfMatch: object.MatchETag(info.ETag)}), object.ErrNotFound)
	k.put("del/x", []byte("back"), object.PutOptions{IfNoneMatch: object.MatchAny()})
	k.wantBody("del/x", []byte("back"))
}

// testBases passes right and wrong beliefs about what is current.
func testBases(k *kit) {
	const key = "base/x"
	var right object.ETag
	for i, wrong := range []object.ETag{"", "0123", "d41d8cd98f00b204e9800998ecf8427e"} {
		body := []byte(strconv.Itoa(i))
		k.put(key, body, object.PutOptions{Base: wrong}) // there is no object the first time
		k.wantBody(key, body)
		body = []byte("again " + strconv.Itoa(i))
		right = k.put(key, body, object.PutOptions{Base: k.wantBody(key, body[len("again "):]).ETag}).ETag
		k.wantBody(key, body)
	}
	body := object.BytesSource([]byte("should not be stored"))
	_, err := k.store.Put(k.Context(), key, body, object.PutOptions{IfMatch: object.MatchETag("0123"), Base: right})
	k.wantErr("If-Match of another version on a right base", err, object.ErrPrecondition)
	_, err = k.store.Put(k.Context(), key, body, object.PutOptions{IfNoneMatch: object.MatchAny(), Base: right})
	k.wantErr("creating it again on a right base", err, object.ErrPrecondition)
	k.wantErr("Delete If-Match of another version on a right base",
		k.store.Delete(k.Context(), key, object.DeleteOptions{IfMatch: object.MatchETag("0123"), Base: right}), object.ErrPrecondition)
	k.put(key, []byte("swapped"), object.PutOptions{IfMatch: object.MatchETag(right), Base: "0123"})
	for _, base := range []object.ETag{"0123", right, ""} { // the first deletes, the others find nothing
		if err := k.store.Delete(k.Context(), key, object.DeleteOptions{Base: base}); err != nil {
			k.Errorf("Delete on base %q: %v", base, err)
		}
		k.wantMissing(key)
	}
}

func testOneCreatorWins(k *kit) {
	for round := range 5 {
		key := object.Key("race/" + strconv.Itoa(round))
		var won, lost atomic.Int32
		var winner atomic.Value
		var creators sync.WaitGroup
		for i := range 16 {
			creators.Go(func() {
				body := []byte(strconv.Itoa(i))
				_, err := k.store.Put(k.Context(), key, object.BytesSource(body), object.PutOptions{IfNoneMatch: object.MatchAny()})
				switch {
				case err == nil:
					won.Add(1)
					winner.Store(body)
				case errors.Is(err, object.ErrPrecondition):
					lost.Add(1)
				default:
					k.Errorf("creator %d: %v", i, err)
				}
			})
		}
		creators.Wait()
		if won.Load() != 1 || lost.Load() != 15 {
			k.Fatalf("%d won and %d lost", won.Load(), lost.Load())
		}
		k.wantBody(key, winner.Load().([]byte))
	}
}

func testCompareAndSwap(k *kit) {
	const writers, increments = 4, 6
	k.put("counter", []byte("0"), object.PutOptions{})
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for done := 0; done < increments; {
				obj, err := k.store.Get(k.Context(), "counter", object.GetOptions{})
				if err != nil {
					k.Errorf("Get: %v", err)
					return
				}
				n, _ := strconv.Atoi(string(k.drain(obj)))
				_, err = k.store.Put(k.Context(), "counter", object.BytesSource([]byte(strconv.Itoa(n+1))),
					object.PutOptions{IfMatch: object.MatchETag(obj.ETag)})
				switch {
				case err == nil:
					done++
				case !errors.Is(err, object.ErrPrecondition):
					k.Errorf("Put: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	k.wantBody("counter", []byte(strconv.Itoa(writers*increments)))
}
