package loadtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

// An errorKind is a kind of error as a small number; 0 is none.
type errorKind uint8

const (
	noError errorKind = iota
	errorDial
	errorTimeout
	errorClosed
	errorProtocolKind
	errorAborted
	errorStatus
	errorBody
)

func (k errorKind) String() string {
	switch k {
	case noError:
		return ""
	case errorDial:
		return ErrorDial
	case errorTimeout:
		return ErrorTimeout
	case errorClosed:
		return ErrorClosed
	case errorAborted:
		return ErrorAborted
	case errorStatus:
		return ErrorStatus
	case errorBody:
		return ErrorBody
	}
	return ErrorProtocol
}

// answered reports whether there was a whole answer.
func (k errorKind) answered() bool { return k == noError || k == errorStatus || k == errorBody }

// An answer is what came of a request.
type answer struct {
	status   int
	cache    string
	in, out  int64 // bytes of bodies
	kind     errorKind
	err      error // with a kind
	checked  bool
	damaged  bool
	redialed bool
}

// A sender sends one request at a time and reads its answer. It belongs to one
// worker.
type sender interface {
	// ready connects, so that the first request need not. What goes wrong the first
	// request will find out again.
	ready() error

	// send returns when the answer is there, or known never to be.
	send(q *request) answer

	close()
}

// fail is an answer that never came. hard is the end of the run.
func (a *answer) fail(hard context.Context, err error) {
	a.kind, a.err = classify(err), err
	if hard.Err() != nil {
		a.kind = errorAborted
	}
}

// classify tells how a request failed.
func classify(err error) errorKind {
	var op *net.OpError
	var network net.Error
	switch {
	case errors.Is(err, errProtocol):
		return errorProtocolKind
	case errors.As(err, &op) && op.Op == "dial":
		return errorDial
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &network) && network.Timeout():
		return errorTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return errorClosed
	}
	return errorProtocolKind
}

// A judge compares an answer with what there must be.
type judge struct {
	q       *request
	at      int64 // bytes of the body that came
	compare bool
	damaged bool
}

// begin looks at the status. Bodies of errors are not compared.
func (j *judge) begin(q *request, status int) {
	*j = judge{q: q, compare: q.check && q.op.goodStatus(status) && (q.op == OpGet || q.op == OpRange)}
}

// piece looks at the next bytes of the body.
func (j *judge) piece(b []byte) {
	if j.compare && !j.damaged && len(b) > 0 {
		// What is too long is not compared: nobody knows what would follow.
		known := b[:max(min(int64(len(b)), j.q.length-j.at), 0)]
		j.damaged = !j.q.body.equal(known, j.q.offset+j.at)
	}
	j.at += int64(len(b))
}

// end passes judgement. length is the Content-Length, -1 if unknown.
func (j *judge) end(a *answer, length int64) {
	q := j.q
	a.in, a.checked, a.damaged = j.at, j.compare, j.damaged
	if !q.op.goodStatus(a.status) {
		a.kind, a.err = errorStatus, fmt.Errorf("%s answered with status %d", q.op, a.status)
		return
	}
	got, want := j.at, q.length
	if q.op == OpHead {
		got, want = length, q.size
	}
	switch {
	case (q.op == OpGet || q.op == OpRange || q.op == OpHead) && got != want:
		a.kind, a.err = errorBody, fmt.Errorf("%s answered with %d bytes, want %d", q.op, got, want)
	case j.damaged:
		a.kind, a.err = errorBody, fmt.Errorf("%s answered with other bytes than were stored", q.op)
	}
}

// goodStatus reports whether status is that of a success.
func (o Op) goodStatus(status int) bool {
	switch o {
	case OpRange:
		return status == 206
	case OpPut:
		return status == 200 || status == 201 || status == 204
	}
	return status == 200
}
