package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/micelio/micelio/node"
	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/origin"
)

// defaultExpires is how long a presigned URL works: long enough to hand it to
// somebody who uses it at once, short enough that it is worth nothing in a log.
const defaultExpires = 15 * time.Minute

// A presigning is what the command's own arguments say.
type presigning struct {
	method  string
	expires time.Duration
}

func (p *presigning) declare(fs *flag.FlagSet) {
	p.expires = defaultExpires
	fs.StringVar(&p.method, "method", http.MethodGet, "what the URL is for, `GET|PUT`")
	declareValue(fs, "expires", durationValue{&p.expires}, "how long it works, a `DURATION` of at most 168h")
}

// runPresign prints a URL with which whoever has it reads or writes one object
// of the bucket, without credentials and past the cluster. The settings of the
// bucket must be right; the others may be those of a node whose flags are not
// repeated here.
func (a *app) runPresign(ctx context.Context, args []string) int {
	own, key := presigning{}, ""
	l := a.settle(args, own.declare, &key)
	if l == nil {
		return exitOK
	}
	for _, w := range l.warnings {
		fmt.Fprintf(a.stderr, "micelio-node: warning: %s\n", w)
	}
	problems := slices.Concat(l.judge(l.options.ValidateS3()), presignProblems(own.method, own.expires, key))
	if len(problems) > 0 {
		return a.reject(problems)
	}
	url, err := presign(ctx, l.options.Config, own.method, object.Key(key), own.expires)
	if err != nil {
		fmt.Fprintf(a.stderr, "micelio-node: %v\n", err)
		return exitFailure
	}
	fmt.Fprintln(a.stdout, url)
	return exitOK
}

// presignProblems returns what is wrong with the command's own arguments.
func presignProblems(method string, expires time.Duration, key string) []string {
	var problems []string
	if method != http.MethodGet && method != http.MethodPut {
		problems = append(problems, fmt.Sprintf("--method: %q is unknown: use GET or PUT", method))
	}
	if expires < time.Second || expires > origin.MaxPresignExpires {
		problems = append(problems, fmt.Sprintf("--expires: %v is not from 1s to %v", expires, origin.MaxPresignExpires))
	}
	if _, err := object.ParseKey(key); key == "" {
		problems = append(problems, "no key: name the object, micelio-node presign KEY")
	} else if err != nil {
		problems = append(problems, fmt.Sprintf("%q: %v", key, err))
	}
	return problems
}

// presign opens the bucket of cfg and has it sign.
func presign(ctx context.Context, cfg node.Config, method string, key object.Key, expires time.Duration) (string, error) {
	open := cfg.S3Origin(nil)
	open.SpoolDir = "" // nothing is uploaded, and a node's folder is its own
	bucket, err := origin.OpenS3(ctx, open)
	if err != nil {
		return "", err
	}
	defer bucket.Close()
	return bucket.Presign(ctx, method, key, expires)
}
