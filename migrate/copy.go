package migrate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync/atomic"

	"github.com/micelio/micelio/object"
)

// bring has the destination hold an object of the source, or finds out that it
// does.
func (r *run) bring(ctx context.Context, p pair) {
	if p.from == nil {
		return // verify reports it
	}
	if rec, found := r.journal.find(p.key); found && rec.isOf(p) {
		r.skip(p.from.Size)
		return
	}
	there, wrote := p.to, false
	err := r.persist(ctx, "copy "+string(p.key), func(attempt int) (err error) {
		if attempt > 0 { // what it did is known by looking only
			if there, err = r.look(ctx, p.key); err != nil {
				return err
			}
		}
		var tried bool
		tried, err = r.settle(ctx, p, there, wrote)
		wrote = wrote || tried
		return err
	})
	switch {
	case errors.Is(err, errSourceGone):
		// It was deleted. If the destination has it, it is an extra one.
	case err != nil:
		r.fail(ctx, p.key, err)
	default:
		r.succeeded()
	}
}

var (
	// errSourceGone says that the source does not have the object any more.
	errSourceGone = errors.New("deleted at the source")

	// errGoneMeanwhile says that the destination does not, after it had it.
	errGoneMeanwhile = fmt.Errorf("%w: deleted at the destination meanwhile", object.ErrPrecondition)
)

// look returns what the destination has, nil if nothing.
func (r *run) look(ctx context.Context, key object.Key) (*object.Info, error) {
	info, err := r.cfg.To.Head(ctx, key, object.HeadOptions{})
	switch {
	case errors.Is(err, object.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("look at the destination: %w", err)
	}
	return &info, nil
}

// settle copies the object if there is none at the destination and compares the
// two otherwise. wrote says that an earlier attempt may have put there what is
// there; tried, that this one may have.
func (r *run) settle(ctx context.Context, p pair, there *object.Info, wrote bool) (tried bool, err error) {
	if there == nil {
		return true, r.copy(ctx, p.key, object.PutOptions{IfNoneMatch: object.MatchAny()})
	}
	why := ""
	if p.from.Size != there.Size {
		why = sizesDiffer(p.from.Size, there.Size)
	} else {
		rec, differs, err := r.compare(ctx, p.key)
		if err != nil {
			return false, err
		}
		if differs == "" {
			if wrote {
				r.copied.Add(1)
				r.copiedBytes.Add(rec.Size)
			} else {
				r.skip(rec.Size)
			}
			return false, r.note(rec)
		}
		why = differs
	}
	if !r.cfg.Overwrite {
		r.differ(Different, string(p.key), why)
		return false, nil
	}
	current, err := r.look(ctx, p.key) // a listing may not have said the ETag
	if err != nil {
		return false, err
	}
	opt := object.PutOptions{IfNoneMatch: object.MatchAny()}
	if current != nil {
		opt = object.PutOptions{IfMatch: object.MatchETag(current.ETag)}
	}
	return true, r.copy(ctx, p.key, opt)
}

func (r *run) skip(size int64) {
	r.skipped.Add(1)
	r.skippedBytes.Add(size)
}

// copy writes the object to the destination.
func (r *run) copy(ctx context.Context, key object.Key, opt object.PutOptions) error {
	obj, err := r.cfg.From.Get(ctx, key, object.GetOptions{})
	if err != nil {
		return sourceError(err)
	}
	defer obj.Body.Close()
	opt.Attrs, opt.SHA256 = obj.Attrs, obj.SHA256
	body := &digested{r: obj.Body, hash: sha256.New(), moved: &r.copiedBytes}
	info, err := r.cfg.To.Put(ctx, key, object.ReaderSource(body, obj.Size), opt)
	switch {
	case body.err != nil:
		err = sourceError(body.err)
	case err == nil && body.n != obj.Size:
		err = fmt.Errorf("%w: the destination took %d of %d bytes", object.ErrDigest, body.n, obj.Size)
	case errors.Is(err, object.ErrNotFound): // what was to be replaced
		err = errGoneMeanwhile
	case err != nil:
		err = fmt.Errorf("write the destination: %w", err)
	}
	if err != nil {
		r.copiedBytes.Add(-body.n)
		return err
	}
	r.copied.Add(1)
	return r.note(record{
		Key: key, Size: obj.Size, SHA256: body.sum(), Attrs: digestAttrs(obj.Attrs),
		From: stateOf(&obj.Info), To: stateOf(&info),
	})
}

// sourceError names the side of an error. Only of the source a missing object
// means that there is nothing to do.
func sourceError(err error) error {
	if errors.Is(err, object.ErrNotFound) {
		return errSourceGone
	}
	return fmt.Errorf("read the source: %w", err)
}

// compare reads an object on both sides. It returns the record that they are
// the same, or what differs.
func (r *run) compare(ctx context.Context, key object.Key) (rec record, differs string, err error) {
	from, fromSum, err := read(ctx, r.cfg.From, key, nil)
	if err != nil {
		return rec, "", sourceError(err)
	}
	to, toSum, err := read(ctx, r.cfg.To, key, nil)
	if errors.Is(err, object.ErrNotFound) {
		return rec, "", errGoneMeanwhile
	}
	if err != nil {
		return rec, "", fmt.Errorf("read the destination: %w", err)
	}
	rec = record{
		Key: key, Size: from.Size, SHA256: fromSum, Attrs: digestAttrs(from.Attrs),
		From: stateOf(&from), To: stateOf(&to), Verified: true,
	}
	return rec, rec.differs(to, toSum), nil
}

// note keeps a record in the journal. Without it the verification would not
// know what was copied, so failing ends the Run.
func (r *run) note(rec record) error {
	if err := r.journal.add(rec); err != nil {
		r.giveUp(err)
		return err
	}
	return nil
}

// read reads an object and returns what it is and the digest of its bytes.
// moved, if not nil, counts them while they come.
func read(ctx context.Context, store object.Store, key object.Key, moved *atomic.Int64) (object.Info, object.Digest, error) {
	obj, err := store.Get(ctx, key, object.GetOptions{})
	if err != nil {
		return object.Info{}, object.Digest{}, err
	}
	defer obj.Body.Close()
	body := &digested{r: obj.Body, hash: sha256.New(), moved: moved}
	_, err = io.Copy(io.Discard, body)
	if err == nil && body.n != obj.Size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		if moved != nil {
			moved.Add(-body.n)
		}
		return object.Info{}, object.Digest{}, err
	}
	return obj.Info, body.sum(), nil
}

// A digested reads a body and digests it on the way.
type digested struct {
	r     io.Reader
	hash  hash.Hash
	moved *atomic.Int64 // counts too, if not nil
	n     int64
	err   error // other than the end
}

func (d *digested) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	d.hash.Write(p[:n])
	d.n += int64(n)
	if d.moved != nil {
		d.moved.Add(int64(n))
	}
	if err != nil && err != io.EOF {
		d.err = err
	}
	return n, err
}

func (d *digested) sum() (sum object.Digest) {
	d.hash.Sum(sum[:0])
	return sum
}
