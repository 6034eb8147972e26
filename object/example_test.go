package object_test

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"

	"github.com/micelio/micelio/object"
)

// The server decides from the name alone how an object is cached.
func ExampleClasses_Of() {
	classes, err := object.NewClasses(object.DefaultVerified, object.DefaultImmutable)
	if err != nil {
		fmt.Println(err)
		return
	}
	name := "artifacts/sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
	for _, key := range []object.Key{object.Key(name), object.Key(name + "/decoded"), "sessions/42/head"} {
		class, digest := classes.Of(key)
		fmt.Printf("%v, provable: %t\n", class, !digest.IsZero())
	}
	// Output:
	// verified, provable: true
	// immutable, provable: false
	// mutable, provable: false
}

// A range is read from a header, then applied to an object of a known size.
func ExampleParseRange() {
	for _, header := range []string{"bytes=2-4", "bytes=7-", "bytes=-3", "bytes=10-", "bytes=0-1,5-6"} {
		r, ok := object.ParseRange(header)
		if !ok {
			fmt.Println(header, "is ignored")
			continue
		}
		offset, length, err := r.Resolve(10)
		if err != nil {
			fmt.Println(header, "is", err)
			continue
		}
		fmt.Println(header, "is", "0123456789"[offset:offset+length])
	}
	// Output:
	// bytes=2-4 is 234
	// bytes=7- is 789
	// bytes=-3 is 789
	// bytes=10- is range not satisfiable
	// bytes=0-1,5-6 is ignored
}

// A body that does not hash to its name never ends cleanly.
func ExampleVerifyBody() {
	want := object.Digest(sha256.Sum256([]byte("the true bytes")))
	for _, sent := range []string{"the true bytes", "the FALSE byte"} {
		body := object.VerifyBody(io.NopCloser(strings.NewReader(sent)), int64(len(sent)), want)
		got, err := io.ReadAll(body)
		fmt.Println(len(got), err != nil)
	}
	// Output:
	// 14 false
	// 0 true
}
