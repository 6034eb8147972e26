package loadtest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"time"
)

// The clients that can send the requests of a run.
const (
	// ClientRaw writes requests of HTTP/1.1 that were serialised beforehand, and
	// reads of the answers what a measurement needs. It takes half of the CPU time
	// of net/http, and speaks neither TLS nor HTTP/2.
	ClientRaw = "raw"

	// ClientHTTP is net/http with HTTP/1.1, over TLS where a target says https.
	ClientHTTP = "http"

	// ClientHTTP2 is net/http with HTTP/2: over TLS where a target says https,
	// with prior knowledge where it says http. The requests of all workers share
	// one connection to each target, as HTTP/2 means it.
	ClientHTTP2 = "h2"
)

// ErrRemote is what a run over targets beyond this machine ends with, unless
// [Config.AllowRemote] says that it is meant. A load test at the wrong address
// is an attack.
var ErrRemote = errors.New("the target is not on this machine")

// A ConfigError is what is wrong with a Config, or with what else says what a run
// is to be: a mistake of who calls.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap is what is wrong.
func (e *ConfigError) Unwrap() error { return e.Err }

// A Config says what one run does. Together with the code it determines the
// requests, their order and when each is due: two runs of one Config differ in
// what the network, the machine and the servers made of it, and in nothing else.
// (Where the loop is closed, when a request is due depends on the answers.)
//
// A Config is echoed in the Result, so it holds no secrets. The fields that JSON
// does not know do not change what is asked.
type Config struct {
	// Name tells this run from others in reports.
	Name string `json:"name,omitempty"`

	// Profile is the name of the ready-made load that the Config was made from, ""
	// if none was. It changes nothing.
	Profile string `json:"profile,omitempty"`

	// Rate is when requests are due, as [PacerSyntax] explains it: "1000", "ramp:…",
	// "max".
	Rate string `json:"rate"`

	// Mix is what is asked for.
	Mix Mix `json:"mix"`

	// Targets are the servers, each http://HOST:PORT, https://HOST:PORT or
	// HOST:PORT. Connections are dealt out to them in turn; a connection stays with
	// its target.
	Targets []string `json:"targets"`

	// Bucket is the first segment of the path of every request.
	Bucket string `json:"bucket"`

	// Seed determines everything that is drawn: keys, sizes, bodies, operations.
	Seed uint64 `json:"seed"`

	// PutSalt tells the keys that the puts of this run make from those of other
	// runs of the same seed. Run fills it in with the start of the run if it is "".
	PutSalt string `json:"put_salt,omitempty"`

	// Duration is how long requests fall due. The run goes on for up to Grace after
	// it, until the last of them is answered.
	Duration time.Duration `json:"duration_ns"`

	// Requests is how many fall due at most; 0 is no bound but the Duration.
	Requests int64 `json:"requests,omitempty"`

	// Connections is how many requests can be under way at once, each on a
	// connection and a goroutine of its own. There are never more: a rate that the
	// servers do not keep up with makes requests late, not more numerous.
	Connections int `json:"connections"`

	// Timeout is how long one request may take from when it is sent. A request that
	// could not be sent within it is given up and counted as unsent.
	Timeout time.Duration `json:"timeout_ns"`

	// Grace bounds how long after the Duration requests that are due by then may
	// still be sent and answered. What is not sent by then is counted as unsent.
	Grace time.Duration `json:"grace_ns"`

	// Client is ClientRaw, ClientHTTP or ClientHTTP2.
	Client string `json:"client"`

	// Spin makes whoever is next wait the last 0.3 ms in a loop that asks the clock,
	// because the scheduler is mostly 0.05 ms late. It takes up to a core, and wants
	// a second one.
	Spin bool `json:"spin,omitempty"`

	// LatenessFloor is how late the generator may send by itself, at the 99th
	// percentile, without the run being invalid, however soon answers come.
	LatenessFloor time.Duration `json:"lateness_floor_ns"`

	// CheckEvery is how many bodies there are to each that is compared, byte by
	// byte, with what must be in it: 1 compares every one, 0 none. Lengths are
	// always compared.
	CheckEvery int `json:"check_every"`

	// Metrics are the URLs of the nodes' /metrics, HOST:PORT for short. Without any
	// the Result has no Server.
	Metrics []string `json:"metrics,omitempty"`

	// AllowRemote lets targets and Metrics be on other machines.
	AllowRemote bool `json:"allow_remote,omitempty"`

	// TLS is for ClientHTTP and ClientHTTP2; nil is the default of net/http.
	TLS *tls.Config `json:"-"`

	// Status is where a line about the run is kept up to date with carriage
	// returns: a terminal. Without one nothing is written while the run goes on.
	Status io.Writer `json:"-"`

	// OnInterval, if not nil, is called with each Interval when it has ended, one
	// after the other, from a goroutine of the run. The later of its counts can
	// still grow, as Interval says. It must return at once.
	OnInterval func(Interval) `json:"-"`
}

// DefaultConfig returns a run of 30 s: a thousand reads a second of a million
// objects of 1 KiB, of which some are asked for much more than others, over 32
// connections. It lacks the Targets.
func DefaultConfig() Config {
	return Config{
		Rate:        "1000",
		Mix:         DefaultMix(),
		Bucket:      "micelio",
		Seed:        1,
		Duration:    30 * time.Second,
		Connections: 32,
		Timeout:     10 * time.Second,
		Grace:       10 * time.Second,
		Client:      ClientRaw,
		CheckEvery:  64,

		LatenessFloor: 2 * time.Millisecond,
	}
}

// Bounds of a run. They keep the memory and the machine of whoever mistypes.
const (
	maxDuration    = 24 * time.Hour
	maxConnections = 10_000
)

// check finds what is wrong with a Config, all of it at once.
func (c *Config) check() error {
	var errs []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fault(c.Duration <= 0 || c.Duration > maxDuration, "a duration of %v, want more than 0 and at most %v", c.Duration, maxDuration)
	fault(c.Timeout <= 0 || c.Timeout > maxDuration, "a timeout of %v, want more than 0 and at most %v", c.Timeout, maxDuration)
	fault(c.Grace < 0 || c.Grace > maxDuration, "a grace of %v, want 0 to %v", c.Grace, maxDuration)
	fault(c.LatenessFloor < 0, "a floor of lateness of %v", c.LatenessFloor)
	fault(c.Requests < 0, "%d requests", c.Requests)
	fault(c.Connections < 1 || c.Connections > maxConnections, "%d connections, want 1 to %d", c.Connections, maxConnections)
	fault(len(c.Targets) > max(c.Connections, 1), "%d connections for %d targets: some would be asked nothing", c.Connections, len(c.Targets))
	fault(c.Spin && runtime.GOMAXPROCS(0) < 2, "spinning on the only CPU there is: nobody would be left to read answers")
	fault(c.CheckEvery < 0, "a check of every %dth body", c.CheckEvery)
	fault(!slices.Contains([]string{ClientRaw, ClientHTTP, ClientHTTP2}, c.Client),
		"the client %q is none of %s, %s, %s", c.Client, ClientRaw, ClientHTTP, ClientHTTP2)
	// It goes into requests as it is.
	fault(c.Bucket == "" || strings.Trim(c.Bucket, "abcdefghijklmnopqrstuvwxyz0123456789-.") != "", "%q is no name of a bucket", c.Bucket)
	if err := errors.Join(append(errs, c.Mix.check())...); err != nil {
		return &ConfigError{err}
	}
	return nil
}
