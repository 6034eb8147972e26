package s3test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// errAddrInUse says that somebody took an address first.
var errAddrInUse = errors.New("the address is in use")

// The ports that programs get which cannot choose one themselves. They lie below
// those that the kernel gives to outgoing connections (32768 to 60999, ip(7)), of
// which tests make thousands a second.
const (
	firstPort = 12000
	lastPort  = 32000
)

// addrTries bounds how many addresses are tried.
const addrTries = 20

// listenAt calls listen with an address of this machine that was free a moment
// ago, and with others while it returns errAddrInUse: whoever wants an address
// that was free may find it taken. It returns the address.
func listenAt(t testing.TB, listen func(addr string) error) string {
	t.Helper()
	addr, err := tryAddrs(func() string {
		return net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(lastPort-firstPort)))
	}, listen)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// tryAddrs is listenAt for the addresses of next.
func tryAddrs(next func() string, listen func(addr string) error) (string, error) {
	for range addrTries {
		addr := next()
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		l.Close()
		if err := listen(addr); !errors.Is(err, errAddrInUse) {
			return addr, err
		}
	}
	return "", fmt.Errorf("%d addresses in a row: %w", addrTries, errAddrInUse)
}
