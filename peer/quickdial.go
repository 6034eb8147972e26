package peer

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// openQuick opens a lane to the peer: see quick.go.
func (c *Client) openQuick(ctx context.Context) (*quickLane, error) {
	l := c.begin(ctx, "open quick lane", "")
	defer l.end()
	l.lane.Store(new(atomic.Int64)) // it is no request that anybody waits for
	lane, err := l.upgrade()
	if met := (*challengeError)(nil); errors.As(err, &met) { // it has just been met
		c.challenge.Store(&met.challenge)
		lane, err = l.upgrade()
	}
	if err != nil {
		return nil, l.failed(err)
	}
	return lane, nil
}

// upgrade asks for a lane once, on a connection of its own.
func (l *call) upgrade() (*quickLane, error) {
	conn, err := l.pool.dial(l.ctx, "tcp", l.addr)
	if err != nil {
		return nil, err
	}
	lane, err := l.upgradeConn(conn)
	if err != nil {
		conn.Close()
	}
	return lane, err
}

func (l *call) upgradeConn(conn net.Conn) (*quickLane, error) {
	stop := context.AfterFunc(l.ctx, func() { conn.Close() })
	defer stop()
	mine := newLaneNonce()
	req, err := l.request(http.MethodGet, quickTarget, nil)
	if err != nil {
		return nil, err
	}
	req.Header["Connection"], req.Header["Upgrade"] = []string{"Upgrade"}, []string{quickProtocol}
	req.Header[headerQuick] = []string{mine.String()}
	l.sign(req)
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	in := bufio.NewReader(&io.LimitedReader{R: conn, N: MaxHeaderBytes})
	resp, err := http.ReadResponse(in, req)
	if err != nil {
		return nil, err
	}
	if err := l.readAnswer(resp, http.StatusSwitchingProtocols); err != nil {
		return nil, err
	}
	theirs, err := laneNonceOf(resp.Header)
	node, nodeErr := unescape(resp.Header.Get(headerFrom))
	if err = errors.Join(err, nodeErr); err != nil {
		return nil, fmt.Errorf("%w: %w", errStranger, err)
	}
	if in.Buffered() > 0 || !stop() { // it speaks when it is asked
		return nil, errStranger
	}
	var ask, have *laneKey
	if len(l.pool.keys) > 0 {
		if ask, err = l.pool.keys[0].laneKey(mine, theirs, toServer); err != nil {
			return nil, err
		}
		if have, err = l.pool.keys[0].laneKey(mine, theirs, toClient); err != nil {
			return nil, err
		}
	}
	return newQuickLane(l.quick, conn, node, ask, have), nil
}
