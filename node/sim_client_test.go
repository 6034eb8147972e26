package node

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/micelio/micelio/history"
	"github.com/micelio/micelio/object"
)

// A simClient asks one thing after the other, of any node.
type simClient struct {
	w    *simWorld
	id   int
	rng  *rand.Rand
	n    int                       // writes so far
	seen map[object.Key]simVersion // what it knows last of each key
}

// A simVersion is what a client knows of an object.
type simVersion struct {
	etag object.ETag
	tag  string
	size int
}

// run does ops operations.
func (c *simClient) run(ops int) {
	for range ops {
		pass(time.Duration(c.rng.Int64N(int64(c.w.plan.think))))
		key := c.w.keys[c.rng.IntN(len(c.w.keys))]
		node := c.w.nodes[c.rng.IntN(len(c.w.nodes))]
		lot := c.rng.Float64()
		ctx, cancel := context.Background(), func() {}
		if c.rng.Float64() < c.w.plan.leaving {
			ctx, cancel = context.WithTimeout(ctx, time.Duration(c.rng.Int64N(int64(300*time.Millisecond))))
		}
		switch {
		case lot < c.w.plan.reads:
			c.read(ctx, node, key)
		case lot < c.w.plan.reads+c.w.plan.deletes && c.w.class(key) == object.Mutable:
			c.remove(ctx, node, key)
		default:
			c.write(ctx, node, key)
		}
		cancel()
	}
}

// call sends an operation to a node: do is done there, past the cluster if that
// is asked for. It reports whether nobody heard the answer, because the client
// left or its node died, which ends the context. If nobody listens it does nothing.
func (c *simClient) call(ctx context.Context, n *simNode, past bool, do func(ctx context.Context, s object.Store) error) (unheard bool, err error) {
	l := n.alive()
	if l == nil {
		return false, nil
	}
	there, back := simLatency(c.rng), simLatency(c.rng)
	inside, cancel := context.WithCancel(context.WithValue(ctx, simJitterKey{}, newSimDraws(c.rng)))
	defer cancel()
	defer context.AfterFunc(l.ctx, cancel)()
	if sleep(inside, there) == nil {
		n.stand(c.rng)
		if past {
			err = do(inside, l.uplink)
		} else {
			err = do(inside, l.front)
		}
		if sleep(inside, back) == nil {
			n.stand(c.rng)
		}
	}
	switch {
	case ctx.Err() != nil: // whatever the node says, nobody hears it
		return true, errors.New("the client left")
	case l.dead():
		return true, errors.New("the node died")
	}
	return false, err
}

// read reads a key in one of several ways.
func (c *simClient) read(ctx context.Context, n *simNode, key object.Key) {
	how, from, length := c.rng.IntN(10), c.rng.IntN(40), c.rng.IntN(40)
	if n.alive() == nil {
		return
	}
	call := c.w.recorder.Begin(history.Op{Client: c.id, Key: string(key), Kind: history.Read})
	var value string
	past := c.rng.Float64() < c.w.plan.past
	_, err := c.call(ctx, n, past, func(ctx context.Context, s object.Store) (err error) {
		switch {
		case how == 0:
			var info object.Info
			info, err = s.Head(ctx, key, object.HeadOptions{})
			value = c.w.described(info)
		case how == 1 && c.seen[key].etag != "":
			value, err = c.get(ctx, s, key, object.GetOptions{IfNoneMatch: object.MatchETag(c.seen[key].etag)})
		case how == 2:
			value, err = c.get(ctx, s, key, object.GetOptions{Range: object.Bytes(int64(from)*simBlock, int64(length+1)*simBlock)})
		default:
			value, err = c.get(ctx, s, key, object.GetOptions{})
		}
		if errors.Is(err, object.ErrNotFound) {
			value, err = history.Absent, nil
			delete(c.seen, key)
		}
		return err
	})
	if err != nil {
		call.End(history.Unknown, fmt.Sprintf("%s: %v", simID(n.id), err))
		return
	}
	call.Read(value, simID(n.id))
}

// get reads an object, or says what it is not.
func (c *simClient) get(ctx context.Context, s object.Store, key object.Key, opt object.GetOptions) (string, error) {
	obj, err := s.Get(ctx, key, opt)
	if nm := (*object.NotModifiedError)(nil); errors.As(err, &nm) {
		return c.w.described(nm.Info), nil
	}
	if err != nil {
		return "", err
	}
	defer obj.Body.Close()
	body, err := io.ReadAll(obj.Body)
	if err != nil {
		return "", err
	}
	value := c.w.described(obj.Info)
	if whole := simContent(history.Tag(value), int(obj.Size)); int64(len(body)) != obj.Length || string(body) != whole[obj.Offset:obj.Offset+obj.Length] {
		return fmt.Sprintf("torn: %d bytes from %d of %s are %.40q", len(body), obj.Offset, value, body), nil
	}
	c.seen[key] = simVersion{obj.ETag, history.Tag(value), int(obj.Size)}
	return value, nil
}

// write writes a key in one of several ways.
func (c *simClient) write(ctx context.Context, n *simNode, key object.Key) {
	c.n++
	name := fmt.Sprintf("c%d.%d", c.id, c.n)
	v := simVersion{tag: name, size: simBlock * (1 + c.rng.IntN(30))}
	if c.rng.Float64() < c.w.plan.large {
		v.size = 300<<10 + simBlock*c.rng.IntN(1000)
	}
	seen, how := c.seen[key], c.rng.IntN(10)
	op := history.Op{Client: c.id, Key: string(key), Kind: history.Write}
	opt := object.PutOptions{Attrs: object.Attrs{ContentType: "sim/" + name}}
	immutable := c.w.class(key) == object.Immutable
	switch {
	case immutable, how == 0:
		op.Kind, op.Expect = history.CAS, history.Absent
		if !immutable {
			opt.IfNoneMatch = object.MatchAny()
		}
	case how <= 3 && seen.tag != "":
		op.Kind, op.Expect = history.CAS, seen.tag
		opt.IfMatch = object.MatchETag(seen.etag)
	case how == 4 && seen.tag != "": // the same bytes as something else
		v.tag, v.size = seen.tag, seen.size
	}
	content := simContent(v.tag, v.size)
	v.etag = c.w.named(v.tag, content)
	op.Value = v.tag + ";" + opt.Attrs.ContentType
	var src object.Source = object.BytesSource([]byte(content))
	if c.rng.IntN(3) == 0 {
		src = object.ReaderSource(strings.NewReader(content), -1)
	}
	c.change(ctx, n, op, func(ctx context.Context, s object.Store) error {
		info, err := s.Put(ctx, key, src, opt)
		if err == nil {
			c.w.expect(info.ETag == v.etag, "client %d put %s and was told of ETag %s", c.id, op.Value, info.ETag)
			c.seen[key] = v
		}
		return err
	})
}

// remove deletes a key, perhaps only if it is what the client saw last.
func (c *simClient) remove(ctx context.Context, n *simNode, key object.Key) {
	op := history.Op{Client: c.id, Key: string(key), Kind: history.Delete}
	var opt object.DeleteOptions
	if seen := c.seen[key]; c.rng.IntN(3) == 0 && seen.tag != "" {
		op.Kind, op.Expect = history.CAS, seen.tag
		opt.IfMatch = object.MatchETag(seen.etag)
	}
	c.change(ctx, n, op, func(ctx context.Context, s object.Store) error { return s.Delete(ctx, key, opt) })
}

// change does an operation that writes, and notes what came of it.
func (c *simClient) change(ctx context.Context, n *simNode, op history.Op, do func(context.Context, object.Store) error) {
	if n.alive() == nil {
		return
	}
	call := c.w.recorder.Begin(op)
	left, err := c.call(ctx, n, false, do)
	note := simID(n.id)
	if err != nil {
		note += ": " + err.Error()
	}
	switch {
	case left:
		call.Leave(note)
	case err == nil:
		call.End(history.OK, note)
	case errors.Is(err, object.ErrUnknownOutcome):
		call.End(history.Unknown, note)
	case op.Kind == history.CAS && (errors.Is(err, object.ErrPrecondition) || errors.Is(err, object.ErrNotFound) || errors.Is(err, object.ErrConflict)):
		call.End(history.Refused, note)
	default:
		call.End(history.Failed, note)
	}
}

// simBlock is the unit of bodies, in bytes: each block says whose it is.
const simBlock = 16

// simContent returns the body of a version: any aligned part of it tells which.
func simContent(tag string, size int) string {
	block := fmt.Sprintf("%-*s\n", simBlock-1, tag)
	return strings.Repeat(block, (size+simBlock-1)/simBlock)
}

// named notes the name that a body goes by, and returns its ETag.
func (w *simWorld) named(tag, content string) object.ETag {
	sum := md5.Sum([]byte(content))
	etag := object.ETag(hex.EncodeToString(sum[:]))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.tags[etag] = tag
	return etag
}

// described returns the value that an Info describes.
func (w *simWorld) described(info object.Info) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.tags[info.ETag] + ";" + info.ContentType
}
