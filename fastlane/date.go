package fastlane

import "time"

// A dateLine is the value of a Date for one second.
type dateLine struct {
	second int64
	text   string
}

// dateAt returns the value of a Date field.
func (l *Listener) dateAt(now time.Time) string {
	second := now.Unix()
	if d := l.date.Load(); d != nil && d.second == second {
		return d.text
	}
	text := string(appendTime(nil, now))
	l.date.Store(&dateLine{second, text})
	return text
}

const (
	weekdays = "SunMonTueWedThuFriSat"
	months   = "JanFebMarAprMayJunJulAugSepOctNovDec"
)

// appendTime appends a time as http.TimeFormat has it, at a fifth of what
// time.AppendFormat takes. Years have four digits.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	hour, minute, second := t.Clock()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, "Mon, 02 Jan 2006 15:04:05 GMT")
	}
	w, m := 3*int(t.Weekday()), 3*int(month-1)
	b = append(append(b, weekdays[w:w+3]...), ", "...)
	b = append(appendTwo(b, day), ' ')
	b = append(append(b, months[m:m+3]...), ' ')
	b = append(appendTwo(appendTwo(b, year/100), year%100), ' ')
	b = append(appendTwo(b, hour), ':')
	b = append(appendTwo(b, minute), ':')
	return append(appendTwo(b, second), " GMT"...)
}

func appendTwo(b []byte, n int) []byte { return append(b, byte('0'+n/10), byte('0'+n%10)) }
