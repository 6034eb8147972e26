package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/micelio/micelio/migrate"
)

// A migration is what the command's own arguments say.
type migration struct {
	from, to   place
	prefix     string
	parallel   int
	dryRun     bool
	overwrite  bool
	allowExtra bool
	journal    string
}

// flags declares the command's own flags.
func (m *migration) flags(fs *flag.FlagSet) {
	fs.Func("from", "read `PLACE`: local:DIR, s3:BUCKET[/PREFIX], or s3: for the bucket and prefix of the settings", m.from.set)
	fs.Func("to", "write to `PLACE`, in the same forms", m.to.set)
	fs.StringVar(&m.prefix, "prefix", "", "only objects whose names begin with `PREFIX`")
	m.parallel = defaultParallel
	declareValue(fs, "parallel", intValue{&m.parallel}, "move `N` objects at once")
	fs.BoolVar(&m.dryRun, "dry-run", false, "only say what would be copied")
	fs.BoolVar(&m.overwrite, "overwrite", false, "replace objects at the destination that differ")
	fs.BoolVar(&m.allowExtra, "allow-extra", false, "accept objects that only the destination has, because others write there")
	fs.StringVar(&m.journal, "journal", "", "note in `FILE` what is done, to go on quickly after an interruption")
}

// defaultParallel is how many objects travel at once. It has to be above what
// the latency of small objects costs and below what a disk takes.
const defaultParallel = 16

// runMigrate copies all objects of one place to another and verifies them. It
// exits with 0 if both hold the same then, and with 1 and the list if they do
// not, or if it ended early. Objects that only the destination has count unless
// --allow-extra says that others write there: a migration is proven when the two
// lists are equal. Of the settings only those of the bucket must be right, and
// only if a bucket takes part.
func (a *app) runMigrate(ctx context.Context, args []string) int {
	m := new(migration)
	l := a.settle(args, m.flags)
	if l == nil {
		return exitOK
	}
	for _, w := range slices.Concat(l.warnings, m.warnings(l)) {
		fmt.Fprintf(a.stderr, "micelio-node: warning: %s\n", w)
	}
	if problems := m.problems(l); len(problems) > 0 {
		return a.reject(problems)
	}
	bar := newBar(a.stderr)
	logger := newLogger(bar, l.options.Config)
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)() // a second signal ends the process at once
	result, err := m.run(ctx, l, logger, bar.show)
	a.printDifferences(result)
	switch {
	case errors.Is(err, context.Canceled):
		fmt.Fprintf(a.stderr, "micelio-node: stopped; %s\nto go on, with the same settings, run\n  %s\n", m.counted(result), m.again())
		return exitFailure
	case err != nil:
		fmt.Fprintf(a.stderr, "micelio-node: %v; %s\n", err, m.counted(result))
		return exitFailure
	}
	fmt.Fprintln(a.stdout, m.counted(result))
	if !result.Identical(m.allowExtra) {
		fmt.Fprintln(a.stdout, "the destination is not the same as the source")
		return exitFailure
	}
	return exitOK
}

// run opens both places and migrates.
func (m *migration) run(ctx context.Context, l *loaded, logger *slog.Logger, report func(migrate.Progress)) (migrate.Result, error) {
	from, err := m.from.open(ctx, l, logger, true)
	if err != nil {
		return migrate.Result{}, fmt.Errorf("--from: %w", err)
	}
	defer from.Close()
	to, err := m.to.open(ctx, l, logger, false)
	if err != nil {
		return migrate.Result{}, fmt.Errorf("--to: %w", err)
	}
	defer to.Close()
	cfg := migrate.Config{
		From: from, To: to, FromName: m.from.name(l), ToName: m.to.name(l),
		Prefix: m.prefix, Parallel: m.parallel, DryRun: m.dryRun, Overwrite: m.overwrite, Journal: m.journal,
		Report: report, Log: logger,
	}
	if m.from.isLocal() {
		cfg.Unlisted = migrate.Unkept(m.from.dir, m.prefix)
	}
	return migrate.Run(ctx, cfg)
}

// problems returns all that is wrong, with the settings and with the arguments.
func (m *migration) problems(l *loaded) []string {
	var invalid []error
	for _, p := range []struct {
		flag string
		*place
	}{{"--from", &m.from}, {"--to", &m.to}} {
		if p.isS3() {
			l.from["s3-bucket"] = source{"flag", p.flag}
			invalid = append(invalid, joined(p.config(l).ValidateS3())...)
		}
	}
	problems := l.judge(errors.Join(invalid...))
	if m.from.kind == "" && !m.from.given {
		problems = append(problems, "no source: give --from local:DIR or --from s3:BUCKET[/PREFIX]")
	}
	if m.to.kind == "" && !m.to.given {
		problems = append(problems, "no destination: give --to local:DIR or --to s3:BUCKET[/PREFIX]")
	}
	if m.from.isLocal() {
		if info, err := os.Stat(m.from.dir); err != nil {
			problems = append(problems, fmt.Sprintf("--from: %v", err))
		} else if !info.IsDir() {
			problems = append(problems, fmt.Sprintf("--from: %s is not a directory", m.from.dir))
		}
	}
	if m.parallel < 1 {
		problems = append(problems, fmt.Sprintf("--parallel: %d moves nothing: write a number above 0, for example %d", m.parallel, defaultParallel))
	}
	if m.from.kind != "" && m.from.kind == m.to.kind && overlap(m.from.root(l), m.to.root(l)) {
		problems = append(problems, "--from and --to are the same place, or one is inside the other")
	}
	for _, p := range []*place{&m.from, &m.to} {
		if m.journal != "" && p.isLocal() && strings.HasPrefix(realPath(m.journal), p.root(l)) {
			problems = append(problems, fmt.Sprintf("--journal: %s would be among the objects: put it elsewhere", m.journal))
		}
	}
	slices.Sort(problems) // two places may share a problem of the settings
	return slices.Compact(problems)
}

// warnings says what is probably not meant.
func (m *migration) warnings(l *loaded) []string {
	var warnings []string
	for _, p := range []*place{&m.from, &m.to} {
		s3 := &l.options.S3
		if p.isS3() && p.bucket != "" && p.bucket == s3.Bucket && p.prefix == "" && s3.Prefix != "" {
			warnings = append(warnings, fmt.Sprintf("a node with these settings has its objects under %s: write s3:%s/%[1]s, or s3: for short", s3.Prefix, p.bucket))
		}
	}
	return warnings
}

// counted says in one line what was done.
func (m *migration) counted(r migrate.Result) string {
	if r.Objects == 0 && r.Done {
		return fmt.Sprintf("the source holds no objects; %d differences", r.Progress.Differences)
	}
	line := fmt.Sprintf("%d objects, %s: %d copied (%s), %d the same already, %d verified, %d differences",
		r.Objects, bytesText(r.Bytes), r.Copied, bytesText(r.CopiedBytes), r.Skipped, r.Verified, r.Progress.Differences)
	if m.dryRun {
		line = fmt.Sprintf("%d objects, %s: %d would be copied (%s), %d of the same size are there, %d differences",
			r.Objects, bytesText(r.Bytes), r.Copied, bytesText(r.CopiedBytes), r.Skipped, r.Progress.Differences)
	}
	if n := r.Counts[migrate.Extra]; n > 0 && m.allowExtra {
		line += fmt.Sprintf(", of which %d extra objects are allowed", n)
	}
	return line
}

// printDifferences lists them, in the order of their names.
func (a *app) printDifferences(r migrate.Result) {
	list := slices.SortedFunc(slices.Values(r.Differences), func(a, b migrate.Difference) int { return strings.Compare(a.Name, b.Name) })
	for _, d := range list {
		fmt.Fprintf(a.stdout, "%-9s %q: %s\n", d.Kind, d.Name, d.Why)
	}
	if more := r.Progress.Differences - int64(len(list)); more > 0 {
		fmt.Fprintf(a.stdout, "and %d more\n", more)
	}
	if len(list) == 0 {
		return
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		fmt.Fprintf(a.stdout, "%s: %d\n", kind, r.Counts[kind])
	}
}

// again returns the command that goes on. Settings are left out: they may be
// secrets.
func (m *migration) again() string {
	words := []string{"micelio-node", "migrate", "--from", m.from.text, "--to", m.to.text}
	if m.prefix != "" {
		words = append(words, "--prefix", m.prefix)
	}
	if m.parallel != defaultParallel {
		words = append(words, "--parallel", fmt.Sprint(m.parallel))
	}
	for _, f := range []struct {
		name string
		set  bool
	}{{"--dry-run", m.dryRun}, {"--overwrite", m.overwrite}, {"--allow-extra", m.allowExtra}} {
		if f.set {
			words = append(words, f.name)
		}
	}
	if m.journal != "" {
		words = append(words, "--journal", m.journal)
	}
	for i, word := range words {
		words[i] = shellQuoted(word)
	}
	return strings.Join(words, " ")
}

// shellQuoted returns a word as a shell reads it.
func shellQuoted(word string) string {
	isPlain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool { return !isPlain(r) }) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
