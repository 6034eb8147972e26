package judge_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"gocloud.dev/blob"
	"gocloud.dev/blob/driver"
	"gocloud.dev/blob/drivertest"

	"github.com/micelio/micelio/object"
)

// A refusal is a case of the suite that uses a key which object.ParseKey refuses
// by design, and what the error must say.
type refusal struct {
	why string

	// absent answers that there is no such object and lets the case go on: it
	// only reads the key. Otherwise the case ends there, as skipped.
	absent bool
}

// keyRefusals is what the key policy costs, by case. The keys are WeirdStrings
// of the suite behind a prefix.
var keyRefusals = map[string]refusal{
	"TestListDelimiters/backslash": {why: `U+005C`},
	"TestKeys/backslashes":         {why: `U+005C`},
	"TestKeys/repeatedbackslashes": {why: `U+005C`},
	"TestKeys/dotdotbackslash":     {why: `U+005C`},
	"TestKeys/ascii-6":             {why: `U+005C`},
	"TestKeys/ascii-1":             {why: `U+0000`},
	"TestKeys/ascii-2":             {why: `U+0010`},
	"TestKeys/ascii-8":             {why: `U+007F`},
	"TestKeys/repeatedfwdslashes":  {why: "empty segment"},
	"TestKeys/ascii-3":             {why: "empty segment"}, // ends with "/"
	"TestKeys/dotdotslash":         {why: `".." segment`},
	"TestListWeirdKeys":            {why: "the key "},                    // all of the above at once; ListUsableKeys lists the others
	"TestAttributes":               {why: "empty segment", absent: true}, // asks for "someDir/"
}

// A judge runs the suite over one kind of Store.
type judge struct {
	newStore func(t *testing.T) object.Store // for each case: a new one, or again the same
	whole    bool                            // see bucket
	skip     map[string]string               // cases that cannot apply to this Store, and why

	// newBucket, where the judge has one, replaces newStore: a driver of others.
	newBucket func(t *testing.T, bucket string, parse func(name string) error) driver.Bucket

	noCopy string // why there is no Copy, "" if there is

	usable map[string]bool // the keys of TestKeys that the policy lets through
}

// run runs the suite, and then the one case of it that refused keys spoil.
func (j *judge) run(t *testing.T) {
	j.usable = map[string]bool{}
	drivertest.RunConformanceTests(t, func(_ context.Context, t2 *testing.T) (drivertest.Harness, error) {
		name := strings.TrimPrefix(t2.Name(), t.Name()+"/")
		if why, ok := j.skip[name]; ok {
			t2.Skip(why)
		}
		return newHarness(t2, name, j), nil
	}, nil)
	t.Run("ListUsableKeys", j.listUsableKeys)
}

// listUsableKeys is TestListWeirdKeys without the keys that the policy refuses.
func (j *judge) listUsableKeys(t *testing.T) {
	if len(j.usable) == 0 {
		t.Skip("the keys are those of TestKeys, which did not run")
	}
	b := blob.NewBucket(newHarness(t, "ListUsableKeys", j).bucket)
	defer b.Close()
	for key := range j.usable {
		if err := b.WriteAll(t.Context(), key, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for list := b.List(&blob.ListOptions{Prefix: "weird-keys"}); ; {
		entry, err := list.Next(t.Context())
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, entry.Key)
	}
	if want := slices.Sorted(maps.Keys(j.usable)); !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

// A harness serves one case of the suite.
type harness struct {
	t      *testing.T
	name   string // of the case
	judge  *judge
	bucket driver.Bucket
	met    bool // a key was refused as the table says
}

func newHarness(t *testing.T, name string, j *judge) *harness {
	h := &harness{t: t, name: name, judge: j}
	if j.newBucket != nil {
		h.bucket = j.newBucket(t, "micelio", h.check)
	} else {
		h.bucket = &bucket{store: j.newStore(t), whole: j.whole, parse: h.parse}
	}
	t.Cleanup(func() {
		if row, ok := keyRefusals[name]; ok && !h.met && !t.Failed() {
			t.Errorf("no key is refused here because of %q: the row in keyRefusals is out of date", row.why)
		}
	})
	return h
}

// parse parses a key as every border of ours does. A refusal that is in the
// table ends the case as skipped; any other is an error for the suite to judge.
func (h *harness) parse(name string) (object.Key, error) {
	key, err := object.ParseKey(name)
	if err == nil {
		if strings.HasPrefix(h.name, "TestKeys/") {
			h.judge.usable[name] = true
		}
		return key, nil
	}
	row, ok := keyRefusals[h.name]
	if !ok || !strings.Contains(err.Error(), row.why) {
		return "", err
	}
	h.met = true
	if row.absent {
		h.t.Logf("%q answered as absent: %v", name, err)
		return "", fmt.Errorf("%w: %w", object.ErrNotFound, err)
	}
	h.t.Skipf("%q: %v", name, err)
	return "", err
}

// check is parse for keys that are not to become ours.
func (h *harness) check(name string) error {
	_, err := h.parse(name)
	return err
}

// MakeDriver returns the bucket of the case.
func (h *harness) MakeDriver(context.Context) (driver.Bucket, error) { return h.bucket, nil }

// MakeDriverForNonexistentBucket is reached only where a judge opens buckets by
// name; TestNonexistentBucket is among what the others skip.
func (h *harness) MakeDriverForNonexistentBucket(context.Context) (driver.Bucket, error) {
	if h.judge.newBucket == nil {
		return nil, errors.New("this Store has no other bucket")
	}
	return h.judge.newBucket(h.t, "no-such-bucket", h.check), nil
}

// HTTPClient returns a client without credentials, for presigned URLs.
func (h *harness) HTTPClient() *http.Client { return http.DefaultClient }

// SupportsCopy is asked before each part of the suite that copies, which is
// passed over in silence if the answer is no.
func (h *harness) SupportsCopy() bool {
	if h.judge.noCopy != "" {
		h.t.Log(h.judge.noCopy)
	}
	return h.judge.noCopy == ""
}

func (h *harness) SupportsNonSlashDelimiters() bool { return true }
func (h *harness) Close()                           {}
