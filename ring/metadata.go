package ring

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
)

// Every member shows the others a few bytes of metadata with its gossip:
//
//	offset  size  what
//	0       1     version of this format
//	1       1     State
//	2       8     Boot, big endian
//	10      8     hash of the placement parameters, big endian
//	18      8     name of the key that the placement has of the cluster secret,
//	              big endian; 0 without one
//	26      1     Weight
//	27      ...   ID, PeerAddr, DataAddr, AdminAddr: each a length byte and
//	              that many bytes
//
// Nothing may follow. Version and parameters come first in what a reader
// checks: a node that differs in either is refused.
const (
	metadataVersion = 2
	metadataFixed   = 1 + 1 + 8 + 8 + 8 + 1

	// maxMetadata keeps an alive message, which carries it, far below one
	// packet of 1400 bytes. The gossip library itself panics above 512.
	maxMetadata = 256
)

var (
	errMetadata   = errors.New("malformed metadata")
	errVersion    = errors.New("another metadata version")
	errParameters = errors.New("other ring parameters")
)

// encodeMetadata returns the metadata of a valid member. It fails if they do
// not fit.
func encodeMetadata(m Member) ([]byte, error) {
	buf := make([]byte, 0, maxMetadata)
	buf = append(buf, metadataVersion, byte(m.State))
	buf = binary.BigEndian.AppendUint64(buf, m.Boot)
	buf = binary.BigEndian.AppendUint64(buf, parameters())
	buf = binary.BigEndian.AppendUint64(buf, m.PlacementKey)
	buf = append(buf, byte(m.Weight))
	for _, s := range [...]string{m.ID, m.PeerAddr, m.DataAddr, m.AdminAddr} {
		if len(s) > maxMetadata {
			return nil, fmt.Errorf("%.20q… has %d bytes, at most %d fit the metadata", s, len(s), maxMetadata)
		}
		buf = append(append(buf, byte(len(s))), s...)
	}
	if len(buf) > maxMetadata {
		return nil, fmt.Errorf("id and addresses make %d bytes of metadata, at most %d fit: shorten them",
			len(buf), maxMetadata)
	}
	return buf, nil
}

// decodeMetadata reads what encodeMetadata wrote, here or on a node that may run
// other code. The member keeps no reference to buf.
func decodeMetadata(buf []byte) (Member, error) {
	if len(buf) == 0 || len(buf) > maxMetadata {
		return Member{}, fmt.Errorf("%w: %d bytes", errMetadata, len(buf))
	}
	if buf[0] != metadataVersion {
		return Member{}, fmt.Errorf("%w: %d, this node speaks %d", errVersion, buf[0], metadataVersion)
	}
	if len(buf) < metadataFixed {
		return Member{}, fmt.Errorf("%w: %d bytes", errMetadata, len(buf))
	}
	if p := binary.BigEndian.Uint64(buf[10:]); p != parameters() {
		return Member{}, fmt.Errorf("%w: %016x, this node has %016x", errParameters, p, parameters())
	}
	m := Member{State: State(buf[1]), Boot: binary.BigEndian.Uint64(buf[2:]), PlacementKey: binary.BigEndian.Uint64(buf[18:]), Weight: int(buf[26])}
	rest := buf[metadataFixed:]
	for _, field := range [...]*string{&m.ID, &m.PeerAddr, &m.DataAddr, &m.AdminAddr} {
		if len(rest) == 0 || len(rest)-1 < int(rest[0]) {
			return Member{}, fmt.Errorf("%w: cut short", errMetadata)
		}
		n := 1 + int(rest[0])
		*field, rest = string(rest[1:n]), rest[n:]
	}
	if len(rest) != 0 {
		return Member{}, fmt.Errorf("%w: %d bytes left over", errMetadata, len(rest))
	}
	if err := m.check(); err != nil {
		return Member{}, fmt.Errorf("%w: %w", errMetadata, err)
	}
	return m, nil
}

// gossipName is the member's name in the gossip, new at each start: a name that
// comes back with another address would be kept out for most of a minute.
func (m Member) gossipName() string { return m.ID + "/" + strconv.FormatUint(m.Boot, 10) }
