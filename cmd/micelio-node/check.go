package main

import (
	"errors"
	"strings"

	"github.com/micelio/micelio/node"
)

// check returns all problems there are: what load could not read and what the
// configuration itself has wrong.
func (l *loaded) check() []string {
	problems := l.problems
	for _, err := range joined(l.options.Validate()) {
		problem := err.Error()
		if e, ok := errors.AsType[*node.SettingError](err); ok && e.Setting != "" {
			problem = l.from[e.Setting].blame(e.Setting) + ": " + e.Problem
		}
		problems = append(problems, problem)
	}
	return problems
}

// joined returns the errors that errors.Join made one of.
func joined(err error) []error {
	switch e := err.(type) {
	case nil:
		return nil
	case interface{ Unwrap() []error }:
		return e.Unwrap()
	}
	return []error{err}
}

// credentials keeps apart the families of variables for credentials. Each
// setting takes the strongest variable on its own, which could join the key id
// of one account with the secret of another: S3 would only say "403".
func (l *loaded) credentials() {
	id, secret, token := l.from["s3-access-key-id"], l.from["s3-secret-access-key"], l.from["s3-session-token"]
	if family(id) != "" && family(secret) != "" && family(id) != family(secret) {
		l.problems = append(l.problems, id.name+" and "+secret.name+
			" belong to different credentials: set the id and the key by names of one kind")
	}
	// A token that AWS tools left in the environment says nothing about keys
	// that were given in another way.
	if family(token) == "AWS" && id != (source{}) && family(id) != "AWS" {
		l.options.S3.SessionToken = ""
		delete(l.from, "s3-session-token")
	}
}

// family returns the prefix that the variables of one set of credentials share,
// "" for a source that is no variable.
func family(f source) string {
	if f.kind != "environment" {
		return ""
	}
	prefix, _, _ := strings.Cut(f.name, "_")
	return prefix
}
