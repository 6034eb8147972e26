package object_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/micelio/micelio/object"
)

func TestASourceInMemoryCanBeReadAgain(t *testing.T) {
	src := object.BytesSource([]byte("bytes"))
	if src.Size() != 5 {
		t.Errorf("size %d, want 5", src.Size())
	}
	var got []string
	for range 2 {
		r, err := src.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b))
	}
	if diff := cmp.Diff([]string{"bytes", "bytes"}, got); diff != "" {
		t.Errorf("what was read (-want +got):\n%s", diff)
	}
}

func TestAStreamIsOpenedOnce(t *testing.T) {
	stream := &closeRecorder{Reader: strings.NewReader("stream")}
	src := object.ReaderSource(stream, -1)
	if src.Size() != -1 {
		t.Errorf("size %d, want -1", src.Size())
	}
	opened := make(chan io.ReadCloser, 8)
	var callers sync.WaitGroup
	for range cap(opened) {
		callers.Go(func() {
			r, err := src.Open()
			switch {
			case err == nil:
				opened <- r
			case !errors.Is(err, object.ErrReplay) || r != nil:
				t.Errorf("Open = %v, %v; want ErrReplay", r, err)
			}
		})
	}
	callers.Wait()
	if len(opened) != 1 {
		t.Fatalf("%d callers opened the stream, want 1", len(opened))
	}
	r := <-opened
	if got, err := io.ReadAll(r); err != nil || string(got) != "stream" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := r.Close(); err != nil || stream.closed != 0 {
		t.Errorf("Close: %v, the stream was closed %d times, want 0", err, stream.closed)
	}
}

func TestAnExactSourceEndsWhereItSaid(t *testing.T) {
	eachChunking(t, func(t *testing.T, body []byte, deliver func([]byte) io.ReadCloser, buffer int) {
		size := int64(len(body))
		cases := map[string]struct {
			announced int64
			want      error // nil: any error but a clean end
		}{
			"as long as announced":    {size, io.EOF},
			"of unknown size":         {-1, io.EOF},
			"shorter than announced":  {size + 1, io.ErrUnexpectedEOF},
			"longer than announced":   {size - 1, nil},
			"much longer than it was": {0, nil},
		}
		if size == 0 {
			delete(cases, "longer than announced")
			delete(cases, "much longer than it was")
		}
		for name, c := range cases {
			r, err := object.OpenExact(object.ReaderSource(deliver(body), c.announced))
			if err != nil {
				t.Fatal(err)
			}
			got, err := readIn(r, buffer)
			if c.want == nil && err != io.EOF && err != io.ErrUnexpectedEOF {
				continue
			}
			if err != c.want || !bytes.Equal(got, body) {
				t.Errorf("%s, in reads of %d: %d of %d bytes, then %v", name, buffer, len(got), size, err)
			}
		}
	})
}

func TestAnExactSourcePassesFailuresOn(t *testing.T) {
	failure := errors.New("the client went away")
	for _, announced := range []int64{-1, 4, 8} {
		r, err := object.OpenExact(object.ReaderSource(io.MultiReader(strings.NewReader("half"), iotest.ErrReader(failure)), announced))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != failure || string(got) != "half" {
			t.Errorf("announced %d: read %q, %v", announced, got, err)
		}
	}
	stream := object.ReaderSource(strings.NewReader("x"), 1)
	if _, err := object.OpenExact(stream); err != nil {
		t.Fatal(err)
	}
	if r, err := object.OpenExact(stream); !errors.Is(err, object.ErrReplay) || r != nil {
		t.Errorf("opened again: %v, %v; want ErrReplay", r, err)
	}
}
