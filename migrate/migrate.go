// Package migrate copies the objects of one Store into another and proves that
// both hold the same: [Run] copies, reads everything back, and lists every
// difference. It deletes nothing, replaces nothing unless told to, and knows no
// kind of Store but the plain [Folder], which it only reads.
//
// # How it goes
//
// Run goes over both Stores in the order of their keys, side by side, three
// times: it counts what there is, it copies what the destination lacks, and it
// verifies. An object that the destination has already is compared, by the
// SHA-256 of the bytes on both sides and by the attributes. What was copied is
// digested on the way and read back at the end.
//
// Memory is bounded by the number of workers and, in the index of the journal,
// some 50 bytes for each object; bodies are streamed.
//
// # Going on after an end
//
// A migration that ended early, however it ended, goes on when it is started
// again, because what is there is compared and not copied. With a journal it
// does not even read it again: each line says which state of the source was
// found to equal which state of the destination, and counts as long as both
// Stores still list these states. A line with a wrong checksum, such as the torn
// last one, is as good as not written.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/micelio/micelio/object"
)

const (
	// defaultParallel is how many objects travel at once: enough to hide the
	// some 30 ms that a small write to S3 takes, few enough for any disk.
	defaultParallel = 16

	// defaultReportEvery is the time between two reports.
	defaultReportEvery = time.Second

	// MaxDifferences is how many differences a Result holds. The others are
	// counted.
	MaxDifferences = 10_000
)

// A Config says what to copy where. From and To are required.
type Config struct {
	// From is only read, To only read and written. Both stay the caller's.
	From, To object.Store

	// FromName and ToName say which Stores these are. A journal is bound to
	// them: it is refused if it was begun with others.
	FromName, ToName string

	// Prefix selects the keys that start with it, on both sides. Empty: all.
	Prefix string

	// Parallel is how many objects travel at once; 0: 16.
	Parallel int

	// DryRun only lists: it counts what would be copied, and reports objects of
	// another size and extra ones. No bytes are compared, nothing is written.
	DryRun bool

	// Overwrite replaces objects at the destination that differ. Without it they
	// are differences and stay as they are.
	Overwrite bool

	// Journal is the file that spares reading again what an earlier run has
	// compared; it is made if it is missing. Empty: none is kept.
	Journal string

	// Unlisted, if not nil, yields names at the source that no List yields, and
	// why: [Unkept] finds those of a directory. Each is a difference. An error
	// without a name says that they cannot be told, and ends the Run.
	Unlisted iter.Seq2[string, error]

	// Report, if not nil, is told how it goes when a phase begins, every
	// ReportEvery (0: 1 s), and once more at the end. It is never called twice at
	// the same time.
	Report      func(Progress)
	ReportEvery time.Duration

	// Log is told of attempts that are repeated; nil for nobody.
	Log *slog.Logger
}

// A Phase is what a Run is doing.
type Phase string

// The phases, in their order.
const (
	Listing   Phase = "listing"
	Copying   Phase = "copying"
	Verifying Phase = "verifying"
)

// Progress is how far a Run is. Numbers are objects, those that end in Bytes
// are their bytes.
type Progress struct {
	Phase Phase

	// Objects and Bytes are what the source holds, as far as it has been listed.
	Objects, Bytes int64

	// Copied were written, CopiedBytes also counts what is on its way. In a dry
	// run they would be written.
	Copied, CopiedBytes int64

	// Skipped were the same at the destination already.
	Skipped, SkippedBytes int64

	// Verified were found to be the same in the last phase.
	Verified, VerifiedBytes int64

	// Differences are what keeps the two Stores from being the same.
	Differences int64

	// Done says that this is the last report.
	Done bool
}

// A Kind is what is different.
type Kind string

// The kinds of differences.
const (
	Missing   Kind = "missing"   // only at the source
	Extra     Kind = "extra"     // only at the destination
	Different Kind = "different" // other bytes or attributes at the destination
	Changed   Kind = "changed"   // it was changed at the source after it was copied
	Refused   Kind = "refused"   // the destination cannot hold it
	Failed    Kind = "failed"    // it could not be read or written
	Unnamed   Kind = "unnamed"   // a name at the source that no key can have
)

// A Difference is one reason why the two Stores are not the same.
type Difference struct {
	Kind Kind
	Name string // the key, or the name that is none
	Why  string // what was seen, for people
}

// A Result is how a Run ended.
type Result struct {
	Progress

	// Differences are the first MaxDifferences that were found, in no order.
	Differences []Difference

	// Counts has the number of all differences by their kind.
	Counts map[Kind]int64
}

// Identical reports whether no difference was found but, if extra is true,
// objects that only the destination has.
func (r Result) Identical(extra bool) bool {
	n := r.Progress.Differences
	if extra {
		n -= r.Counts[Extra]
	}
	return n == 0
}

// Run copies and verifies. The Result is what was found so far if there is an
// error, which says why the Run ended early: ctx has ended, a Store cannot be
// listed or does not answer any more, or there is something wrong with the
// journal. Trouble with single objects is no error but a Difference.
func Run(ctx context.Context, cfg Config) (Result, error) {
	if cfg.Parallel <= 0 {
		cfg.Parallel = defaultParallel
	}
	if cfg.ReportEvery <= 0 {
		cfg.ReportEvery = defaultReportEvery
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	r := &run{cfg: cfg, seed: maphash.MakeSeed(), counts: map[Kind]int64{}, troubled: map[uint64]struct{}{}}
	if !cfg.DryRun {
		journal, err := openJournal(cfg.Journal, header{From: cfg.FromName, To: cfg.ToName, Prefix: cfg.Prefix})
		if err != nil {
			return Result{}, fmt.Errorf("migrate: %w", err)
		}
		defer journal.close()
		r.journal = journal
		if journal.damaged > 0 {
			cfg.Log.Warn("the journal has damaged lines; what they said is compared again", "journal", cfg.Journal, "lines", journal.damaged)
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.giveUp = cancel
	stop := r.report()
	err := r.phases(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx) // rather than what it made of others
	}
	result := r.result(err == nil)
	stop(result.Progress)
	if err != nil {
		return result, fmt.Errorf("migrate: %w", err)
	}
	return result, nil
}

// A run is one Run.
type run struct {
	cfg     Config
	journal *journal // nil in a dry run
	giveUp  context.CancelCauseFunc
	seed    maphash.Seed // of troubled

	phase                   atomic.Value  // of Phase
	began                   chan Progress // what report says at once; nil for nobody
	objects, bytes          atomic.Int64
	copied, copiedBytes     atomic.Int64
	skipped, skippedBytes   atomic.Int64
	verified, verifiedBytes atomic.Int64
	unreachable             atomic.Int64 // objects in a row that failed because a Store did not answer

	mu          sync.Mutex // guards the following
	differences []Difference
	counts      map[Kind]int64
	troubled    map[uint64]struct{} // hashes of the keys that are reported already
}

func (r *run) phases(ctx context.Context) error {
	r.begin(Listing)
	if err := r.reach(ctx); err != nil {
		return err
	}
	for info, err := range r.list(ctx, r.cfg.From, "source") {
		if err != nil {
			return err
		}
		r.objects.Add(1)
		r.bytes.Add(info.Size)
	}
	r.begin(Copying)
	if r.cfg.DryRun {
		if err := r.pass(ctx, r.foretell); err != nil {
			return err
		}
		return r.unlisted()
	}
	if err := r.pass(ctx, r.bring); err != nil {
		return err
	}
	r.begin(Verifying)
	if err := r.pass(ctx, r.verify); err != nil {
		return err
	}
	return r.unlisted()
}

// begin enters a phase, and says so: one that is over before the next report is
// due would not be seen at all.
func (r *run) begin(phase Phase) {
	r.phase.Store(phase)
	if r.began != nil {
		r.began <- r.progress()
	}
}

// reach asks the destination for something, so that one that cannot be reached
// is known before all of the source has been listed.
func (r *run) reach(ctx context.Context) error {
	for _, err := range r.list(ctx, r.cfg.To, "destination") {
		return err
	}
	return nil
}

// unlisted reports the names that are no keys.
func (r *run) unlisted() error {
	if r.cfg.Unlisted == nil {
		return nil
	}
	for name, err := range r.cfg.Unlisted {
		if err == nil {
			continue
		}
		if name == "" {
			return fmt.Errorf("look for names that are no keys: %w", err)
		}
		r.differ(Unnamed, name, err.Error())
	}
	return nil
}

// foretell is what a dry run does with an object.
func (r *run) foretell(_ context.Context, p pair) {
	switch {
	case p.from == nil:
		r.differ(Extra, string(p.key), sizeOf(p.to))
	case p.to == nil:
		r.copied.Add(1)
		r.copiedBytes.Add(p.from.Size)
	case p.from.Size == p.to.Size:
		r.skipped.Add(1)
		r.skippedBytes.Add(p.from.Size)
	case r.cfg.Overwrite:
		r.copied.Add(1)
		r.copiedBytes.Add(p.from.Size)
	default:
		r.differ(Different, string(p.key), sizesDiffer(p.from.Size, p.to.Size))
	}
}

func sizeOf(info *object.Info) string { return fmt.Sprintf("%d bytes", info.Size) }

func sizesDiffer(from, to int64) string {
	return fmt.Sprintf("%d bytes at the source, %d at the destination", from, to)
}

// differ notes a difference.
func (r *run) differ(kind Kind, name, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.counts[kind]++
	r.troubled[maphash.String(r.seed, name)] = struct{}{}
	if len(r.differences) < MaxDifferences {
		r.differences = append(r.differences, Difference{kind, name, why})
	}
}

// isTroubled reports whether a key is reported already.
func (r *run) isTroubled(key object.Key) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, found := r.troubled[maphash.String(r.seed, string(key))]
	return found
}

// progress returns how far it is.
func (r *run) progress() Progress {
	phase, _ := r.phase.Load().(Phase)
	p := Progress{
		Phase: phase, Objects: r.objects.Load(), Bytes: r.bytes.Load(),
		Copied: r.copied.Load(), CopiedBytes: r.copiedBytes.Load(),
		Skipped: r.skipped.Load(), SkippedBytes: r.skippedBytes.Load(),
		Verified: r.verified.Load(), VerifiedBytes: r.verifiedBytes.Load(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.counts {
		p.Differences += n
	}
	return p
}

// result returns what was found. Nothing else runs any more.
func (r *run) result(whole bool) Result {
	p := r.progress()
	p.Done = whole
	return Result{Progress: p, Differences: r.differences, Counts: r.counts}
}

// report calls Report when a phase begins and now and then until the returned function is called with
// the last thing to report.
func (r *run) report() func(last Progress) {
	if r.cfg.Report == nil {
		return func(Progress) {}
	}
	r.began = make(chan Progress)
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(r.cfg.ReportEvery)
		defer ticker.Stop()
		for {
			select {
			case <-end:
				return
			case p := <-r.began:
				r.cfg.Report(p)
			case <-ticker.C:
				r.cfg.Report(r.progress())
			}
		}
	}()
	return func(last Progress) {
		close(end)
		<-ended
		last.Done = true
		r.cfg.Report(last)
	}
}

// errGivenUp ends a Run in which nothing succeeds any more.
var errGivenUp = errors.New("too many objects in a row could not be copied or read")
