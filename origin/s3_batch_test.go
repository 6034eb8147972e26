package origin_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin/s3test"
)

// deleteAll deletes so many objects at once and returns the errors.
func deleteAll(t *testing.T, s object.Store, n int) []error {
	t.Helper()
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			errs[i] = s.Delete(t.Context(), object.Key(fmt.Sprintf("many/%03d", i)), object.DeleteOptions{})
		})
	}
	all.Wait()
	return errs
}

func fill(fake *s3test.Fake, n int) {
	for i := range n {
		fake.PutObject(fmt.Sprintf("many/%03d", i), []byte("x"), nil)
	}
}

func isBatch(r s3test.Request) bool { return r.Method == http.MethodPost && r.Query.Has("delete") }

func TestDeletesThatArriveTogetherGoTogether(t *testing.T) {
	fake := s3test.NewFake(t)
	s := openS3(t, s3Config(t, fake.Server))
	const n = 300
	fill(fake, n)
	// The first ones wait until all the others have arrived.
	var arrived sync.WaitGroup
	arrived.Add(4)
	release := make(chan struct{})
	undo := fake.Methods(http.MethodDelete).Times(4).Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		arrived.Done()
		<-release
		next.ServeHTTP(w, r)
	})
	defer undo()
	go func() {
		arrived.Wait()
		close(release)
	}()
	for i, err := range deleteAll(t, s, n) {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if left := fake.Names(); len(left) != 0 {
		t.Errorf("%d are left", len(left))
	}
	batches, alone := 0, 0
	for _, r := range fake.Requests() {
		if isBatch(r) {
			batches++
			if r.Header.Get("Content-MD5") == "" {
				t.Error("a batch without Content-MD5")
			}
		} else if r.Method == http.MethodDelete {
			alone++
		}
	}
	if batches == 0 || batches+alone > n/2 {
		t.Errorf("%d objects took %d batches and %d deletes", n, batches, alone)
	}
}

func TestEachDeleteOfABatchHasItsOwnOutcome(t *testing.T) {
	fake := s3test.NewFake(t)
	s := openS3(t, s3Config(t, fake.Server))
	const n = 60
	fill(fake, n)
	fake.When(func(r *http.Request) bool { return r.URL.Query().Has("delete") }).Intercept(
		func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			fmt.Fprint(w, `<DeleteResult><Error><Key>many/030</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>`)
		})
	undo := holdSingles(fake)
	defer undo()
	refused := 0
	for i, err := range deleteAll(t, s, n) {
		if err != nil {
			refused++
			wantErr(t, err, object.ErrUnavailable)
			if i != 30 {
				t.Errorf("%d: %v", i, err)
			}
		}
	}
	if refused > 1 { // 0 if it was one of those that went alone
		t.Errorf("%d were refused", refused)
	}
}

// holdSingles keeps deletes of one object waiting for the first batch, so that
// there is one.
func holdSingles(fake *s3test.Fake) (undo func()) {
	batch := make(chan struct{})
	once := sync.OnceFunc(func() { close(batch) })
	return fake.Intercept(func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Has("delete") {
			once()
		} else if r.Method == http.MethodDelete {
			select {
			case <-batch:
			case <-r.Context().Done():
			}
		}
		next.ServeHTTP(w, r)
	})
}

func TestAServiceWithoutBatchesGetsSingleDeletes(t *testing.T) {
	fake := s3test.NewFake(t)
	s := openS3(t, s3Config(t, fake.Server))
	fake.When(func(r *http.Request) bool { return r.URL.Query().Has("delete") }).FailWith(http.StatusNotImplemented, "NotImplemented", 1)
	const n = 50
	for round := range 2 {
		fill(fake, n)
		undo := func() {}
		if round == 0 {
			undo = holdSingles(fake)
		}
		for i, err := range deleteAll(t, s, n) {
			if err != nil {
				t.Errorf("round %d, %d: %v", round, i, err)
			}
		}
		undo()
		if left := fake.Names(); len(left) != 0 {
			t.Errorf("round %d: %d are left", round, len(left))
		}
	}
	batches := 0
	for _, r := range fake.Requests() {
		if isBatch(r) {
			batches++
		}
	}
	if batches == 0 || batches > 2 {
		t.Errorf("it was asked for %d batches", batches)
	}
}

// Whoever left was told that he cannot know; what others wrote since stays.
func TestABatchThatComesLateBuriesNothing(t *testing.T) {
	for _, weak := range []bool{false, true} { // weak to see that the test can fail
		fake := s3test.NewFake(t)
		if weak {
			fake.IgnoreConditionalBatch()
		}
		s := openS3(t, s3Config(t, fake.Server))
		const n = 30
		fill(fake, n)
		undo := holdSingles(fake)
		defer undo()
		late := fake.When(func(r *http.Request) bool { return r.URL.Query().Has("delete") }).Times(1).Late(http.MethodPost)
		ctx, leave := context.WithCancel(t.Context())
		var all sync.WaitGroup
		left := make([]bool, n)
		for i := range n {
			all.Go(func() {
				err := s.Delete(ctx, object.Key(fmt.Sprintf("many/%03d", i)), object.DeleteOptions{})
				if left[i] = err != nil; left[i] {
					wantErr(t, err, context.Canceled)
				}
			})
		}
		<-late.Arrived
		leave()
		all.Wait()
		names := fake.Names()
		for _, name := range names {
			fake.PutObject(name, []byte("later"), nil)
		}
		if late.Apply() != 1 {
			t.Fatal("nothing was held")
		}
		kept := 0
		for _, name := range names {
			if _, _, found := fake.Object(name); found {
				kept++
			}
		}
		if len(names) == 0 || (kept == len(names)) == weak {
			t.Errorf("weak %t: %d of %d objects were kept that were written since", weak, kept, len(names))
		}
	}
}

func TestAnObjectThatIsOverwrittenBeforeItsBatchIsDeletedAllTheSame(t *testing.T) {
	fake := s3test.NewFake(t)
	s := openS3(t, s3Config(t, fake.Server))
	const n = 30
	fill(fake, n)
	undo := holdSingles(fake)
	defer undo()
	fake.When(func(r *http.Request) bool { return r.URL.Query().Has("delete") }).Times(1).Intercept(
		func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			for _, name := range fake.Names() {
				fake.PutObject(name, []byte("meanwhile"), nil)
			}
			next.ServeHTTP(w, r)
		})
	for i, err := range deleteAll(t, s, n) {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if left := fake.Names(); len(left) != 0 {
		t.Errorf("%d are left", len(left))
	}
}

func TestAServiceThatIgnoresVersionsInBatchesGetsNone(t *testing.T) {
	fake := s3test.NewFake(t)
	fake.IgnoreConditionalBatch()
	s := openS3(t, s3Config(t, fake.Server))
	if _, err := s.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := count(fake, isBatch)
	const n = 30
	fill(fake, n)
	for i, err := range deleteAll(t, s, n) {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	if left, batches := fake.Names(), count(fake, isBatch)-before; len(left) != 0 || batches != 0 {
		t.Errorf("%d are left, %d batches", len(left), batches)
	}
}

func TestRealServicesTakeBatches(t *testing.T) {
	server := s3test.VersityGW(t)
	s := openS3(t, s3Config(t, server))
	const n = 100
	for i := range n {
		put(t, s, object.Key(fmt.Sprintf("many/%03d", i)), "x", object.PutOptions{})
	}
	before := s.Stats().Attempts
	for i, err := range deleteAll(t, s, n) {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
	wantNames(t, s, object.ListOptions{})
	t.Logf("%d objects in %d requests", n, s.Stats().Attempts-before)
}
