package origin

import (
	"encoding/hex"
	"io/fs"
	"strings"

	"github.com/micelio/micelio/object"
)

const (
	// oddPiece is how many bytes of an encoded key one path segment holds. It
	// leaves room for the suffix on file systems with shorter names than usual.
	oddPiece = 200

	// oddDirSuffix ends every segment but the last. It is always escaped in a
	// key, so a directory never has the name of an object.
	oddDirSuffix = "~"
)

// oddLiteral are the bytes that stand for themselves in an encoded key. All
// else is escaped, "." too because a segment must not be "." or "..", and
// everything outside ASCII so that no cut goes through a character.
const oddLiteral = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=+,@:"

const upperHex = "0123456789ABCDEF"

// encodeOdd returns the path under oddDir of an object that is no plain file:
// the whole key, escaped as %XX and cut into pieces.
func encodeOdd(key object.Key) string {
	var b strings.Builder
	inPiece := 0
	put := func(c byte) {
		if inPiece == oddPiece {
			b.WriteString(oddDirSuffix + "/")
			inPiece = 0
		}
		b.WriteByte(c)
		inPiece++
	}
	for i := range len(key) {
		c := key[i]
		if strings.IndexByte(oddLiteral, c) >= 0 {
			put(c)
			continue
		}
		put('%')
		put(upperHex[c>>4])
		put(upperHex[c&15])
	}
	return b.String()
}

// decodeOdd is the inverse of encodeOdd. ok is false for every path that
// encodeOdd does not return for a valid key.
func decodeOdd(name string) (key object.Key, ok bool) {
	escaped := strings.ReplaceAll(name, oddDirSuffix+"/", "")
	var b strings.Builder
	for i := 0; i < len(escaped); i++ {
		if escaped[i] != '%' {
			b.WriteByte(escaped[i])
			continue
		}
		if i+3 > len(escaped) {
			return "", false
		}
		c, err := hex.DecodeString(escaped[i+1 : i+3])
		if err != nil {
			return "", false
		}
		b.WriteByte(c[0])
		i += 2
	}
	key, err := object.ParseKey(b.String())
	return key, err == nil && encodeOdd(key) == name
}

// oddKeys calls visit with every key that has a file under oddDir, in no order.
// Files that no key encodes to are passed over.
func (l *Local) oddKeys(visit func(object.Key)) error {
	pending := []string{""}
	for len(pending) > 0 {
		dir := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		err := l.entries(strings.TrimSuffix(oddDir+"/"+dir, "/"), func(e fs.DirEntry) bool {
			switch {
			case e.IsDir() && strings.HasSuffix(e.Name(), oddDirSuffix):
				pending = append(pending, dir+e.Name()+"/")
			case e.Type().IsRegular():
				if key, ok := decodeOdd(dir + e.Name()); ok {
					visit(key)
				}
			}
			return true
		})
		if err != nil && !isAbsent(err) {
			return err
		}
	}
	return nil
}
