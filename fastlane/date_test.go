package fastlane

import (
	"net/http"
	"testing"
	"time"
)

func FuzzTimesAreWrittenAsHTTPHasThem(f *testing.F) {
	for _, t := range []time.Time{time.Unix(0, 0), time.Date(2026, 11, 28, 23, 59, 59, 1e9-1, time.UTC), time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(12345, 2, 3, 4, 5, 6, 7, time.UTC)} {
		f.Add(t.Unix())
	}
	f.Fuzz(func(t *testing.T, seconds int64) {
		at := time.Unix(seconds, 0)
		if got, want := string(appendTime(nil, at)), at.UTC().Format(http.TimeFormat); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	})
}
