package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/micelio/micelio/node"
)

// check returns all problems there are: what load could not read and what the
// configuration itself has wrong.
func (l *loaded) check() []string { return l.judge(l.options.Validate()) }

// judge returns what load could not read and the problems that invalid joins,
// by the names that the user gave the settings.
func (l *loaded) judge(invalid error) []string {
	problems := l.problems
	for _, err := range joined(invalid) {
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

// credentials refuses parts of different credentials. Each setting takes the
// strongest source on its own, which could join the key id of one account with
// the secret or the token of another: S3 would only say "403". Whether all parts
// are there is for the configuration to say.
func (l *loaded) credentials() {
	var parts []part
	for _, p := range []part{
		{setting: "s3-access-key-id", value: l.options.S3.AccessKeyID},
		{setting: "s3-secret-access-key", value: l.options.S3.SecretAccessKey},
		{setting: "s3-session-token", value: l.options.S3.SessionToken},
	} {
		p.from, p.beaten = l.from[p.setting], l.beaten[p.setting]
		if p.value == "" {
			continue
		}
		for _, other := range parts {
			if other.isForeignTo(p) {
				l.problems = append(l.problems, fmt.Sprintf("%s and %s belong to different credentials: set all parts by names of one kind",
					other.from.blame(other.setting), p.from.blame(p.setting)))
				return
			}
		}
		parts = append(parts, p)
	}
}

// A part is the value of one setting among those that make up credentials.
type part struct {
	setting string
	value   node.Secret
	from    source
	beaten  []source
}

// isForeignTo reports whether two parts belong to different credentials: they
// come from variables of different families, or one of them has replaced its
// like in the source that the other is from. A part that one source alone has
// may complete another source's, as a key id in the file and its secret in the
// environment do.
func (p part) isForeignTo(other part) bool {
	if p.from.kind == other.from.kind {
		return family(p.from) != family(other.from)
	}
	sameKind := func(a source) func(source) bool {
		return func(b source) bool { return a.kind == b.kind }
	}
	return slices.ContainsFunc(p.beaten, sameKind(other.from)) || slices.ContainsFunc(other.beaten, sameKind(p.from))
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

// unused warns of what is set and has no effect.
func (l *loaded) unused(env environ) {
	if o := &l.options; o.CDN.BaseURL != "" && !o.Tiered() {
		l.warnings = append(l.warnings, fmt.Sprintf("%s: with backend %q nothing is read through the CDN, only with %q",
			l.from["cdn-base-url"].blame("cdn-base-url"), o.Backend, node.BackendTiered))
	}
	set := func(names ...string) bool {
		return slices.ContainsFunc(names, func(name string) bool { _, found := env.lookup(name); return found })
	}
	id, secret := set("AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"), set("AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY") // as the SDK reads them
	if l.options.Origin() == node.BackendS3 && l.options.S3.AccessKeyID == "" && id != secret {
		l.warnings = append(l.warnings, "only one of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY is set: the AWS SDK ignores it and looks elsewhere")
	}
}
