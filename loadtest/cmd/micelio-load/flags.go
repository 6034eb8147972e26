package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/micelio/micelio/loadtest"
	"github.com/micelio/micelio/loadtest/profile"
)

// defaultKeys is how many objects there are if nobody says: enough that a Zipf
// law has a tail, few enough that they are stored in some seconds.
const defaultKeys = 10_000

// options are the flags that prepare and run share: both must mean the same
// objects.
type options struct {
	cfg              loadtest.Config
	part             loadtest.Part
	targets, metrics string
	ops, sizes       string
	sizesFile        string
	access           string
	shift            string
	ca               string
	insecure         bool
	profile          string
	scale            float64
}

// newFlags declares what both commands have.
func newFlags(name string, stderr io.Writer, o *options) *flag.FlagSet {
	o.cfg = loadtest.DefaultConfig()
	o.part = loadtest.DefaultMix().Parts[0]
	o.part.Name, o.part.Keys = "load", defaultKeys
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&o.profile, "profile", "", "a ready-made load: "+profileNames()+"; other flags change what it says")
	f.Float64Var(&o.scale, "scale", 1, "multiply the numbers of objects of the profile")
	f.StringVar(&o.targets, "target", "127.0.0.1:8080", "the nodes, `HOST:PORT,…` or URLs; connections are dealt out to them in turn")
	f.StringVar(&o.cfg.Bucket, "bucket", o.cfg.Bucket, "the bucket")
	f.Uint64Var(&o.cfg.Seed, "seed", o.cfg.Seed, "determines keys, sizes, bodies and operations; a run reads what was prepared with the same seed")
	f.StringVar(&o.part.Name, "part", o.part.Name, "the name of the population of objects; another one has other keys")
	f.Int64Var(&o.part.Keys, "keys", o.part.Keys, "how many objects there are")
	f.StringVar(&o.part.Class, "class", o.part.Class, "the class of their keys: immutable, verified or mutable")
	f.StringVar(&o.sizes, "sizes", "1KiB", "how large they are: BYTES, or lognormal:MEDIAN,SIGMA[,MIN,MAX]; units KiB, MiB, GiB")
	f.StringVar(&o.sizesFile, "sizes-file", "", "a `FILE` with a size on each line to draw from, instead of -sizes")
	f.IntVar(&o.cfg.Connections, "connections", o.cfg.Connections, "how many connections there are, each with one request at a time")
	f.DurationVar(&o.cfg.Timeout, "timeout", o.cfg.Timeout, "how long a request may take; one that could not be sent within it is given up as unsent")
	f.StringVar(&o.cfg.Client, "client", o.cfg.Client, "raw (HTTP/1.1, takes the least CPU time), http (net/http, also TLS), or h2 (HTTP/2)")
	f.StringVar(&o.ca, "ca", "", "a PEM `FILE` with the authorities to trust, for https targets")
	f.BoolVar(&o.insecure, "insecure", false, "do not check certificates of https targets")
	f.BoolVar(&o.cfg.AllowRemote, "allow-remote", false, "allow targets that are not on this machine: a load test at the wrong address is an attack")
	return f
}

// newRunFlags adds what only a run has.
func newRunFlags(name string, stderr io.Writer, o *options, output *string) *flag.FlagSet {
	f := newFlags(name, stderr, o)
	f.StringVar(&o.cfg.Name, "name", "", "a name for the run, for reports")
	f.StringVar(&o.cfg.Rate, "rate", o.cfg.Rate, "when requests are due, see below")
	f.DurationVar(&o.cfg.Duration, "duration", o.cfg.Duration, "how long requests fall due; with steps, as long as they last if not given")
	f.Int64Var(&o.cfg.Requests, "requests", 0, "how many fall due at most; 0 is no bound but the duration")
	f.DurationVar(&o.cfg.Grace, "grace", o.cfg.Grace, "how long after that what is due may still be sent and answered")
	f.StringVar(&o.ops, "ops", "get", "how often each operation is asked for, such as get:8,head:1,put:1,range:1,list:1")
	f.StringVar(&o.access, "access", "zipf:0.99", "which key is next: uniform, zipf:S with any S from 0, hot:KEYS,SHARE, or scan")
	f.StringVar(&o.shift, "shift", "", "SHARE@EVERY: replace that share of the keys that are asked for by others at such intervals, e.g. 0.1@10s")
	f.StringVar(&o.cfg.PutSalt, "put-salt", "", "tells the keys of new objects from those of other runs; if empty it is drawn from the clock")
	f.BoolVar(&o.cfg.Spin, "spin", false, "wait the last 0.3 ms in a loop: exact to microseconds, and takes up to a core")
	f.DurationVar(&o.cfg.LatenessFloor, "lateness-floor", o.cfg.LatenessFloor, "how late the generator may send by itself at p99, however soon answers come")
	f.IntVar(&o.cfg.CheckEvery, "check", o.cfg.CheckEvery, "compare each so-manieth body byte by byte; 1 is all, 0 none")
	f.StringVar(&o.metrics, "metrics", "", "the nodes' admin listeners, `HOST:PORT,…`, to ask what they counted")
	f.StringVar(output, "o", "", "write the result to a `FILE`: a line of JSON for each second, and one for all")
	return f
}

// setUsage makes f explain its flags, but for those that are hidden because the
// command refuses them, and then the notes.
func setUsage(f *flag.FlagSet, notes string, hidden ...string) {
	f.Usage = func() {
		shown := flag.NewFlagSet(f.Name(), flag.ContinueOnError)
		shown.SetOutput(f.Output())
		f.VisitAll(func(of *flag.Flag) {
			if !slices.Contains(hidden, of.Name) {
				shown.Var(of.Value, of.Name, of.Usage)
				shown.Lookup(of.Name).DefValue = of.DefValue
			}
		})
		fmt.Fprintf(f.Output(), "Usage of %s:\n", f.Name())
		shown.PrintDefaults()
		fmt.Fprint(f.Output(), notes)
	}
}

// rateNotes explain -rate.
func rateNotes() string {
	return fmt.Sprintf("\nRates:\n  %s\n", strings.ReplaceAll(loadtest.PacerSyntax, "\n", "\n  "))
}

const runNotes = `
Latency counts from when a request was due, not from when it could be sent. The
first line says whether the run is to be believed; an INVALID one has exit code 3.
Ctrl-C ends a run, and what was measured until then is reported.
`

// parse reads the arguments of a command into o.cfg.
func (o *options) parse(f *flag.FlagSet, args []string) error {
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return usageError{err}
	}
	if f.NArg() > 0 {
		return usageError{fmt.Errorf("%q is no flag", f.Arg(0))}
	}
	given := map[string]bool{}
	f.Visit(func(flag *flag.Flag) { given[flag.Name] = true })
	if err := o.settle(given); err != nil {
		return usageError{err}
	}
	return nil
}

// settle makes a Config of the flags.
func (o *options) settle(given map[string]bool) error {
	var errs []error
	set := func(err error) { errs = append(errs, err) }
	o.cfg.Targets, o.cfg.Metrics = splitList(o.targets), splitList(o.metrics)
	var err error
	if o.sizesFile != "" {
		o.part.Sizes, err = readSizes(o.sizesFile)
	} else {
		o.part.Sizes, err = loadtest.ParseSizes(o.sizes)
	}
	set(err)
	if o.ops != "" {
		o.part.Ops, err = loadtest.ParseOps(o.ops)
		set(err)
	}
	if o.access != "" {
		set(parseAccess(o.access, &o.part.Access))
	}
	if o.shift != "" {
		set(parseShift(o.shift, &o.part.Access))
	}
	o.cfg.TLS, err = o.tls()
	set(err)
	o.cfg.Mix = loadtest.Mix{Parts: []loadtest.Part{o.part}}
	set(o.checkScale(given))
	if o.profile != "" {
		set(o.applyProfile(given))
	}
	pacer, err := loadtest.ParsePacer(o.cfg.Rate, o.cfg.Seed)
	set(err)
	if limited, ok := pacer.(interface{ Length() time.Duration }); ok && limited.Length() > 0 && !given["duration"] {
		o.cfg.Duration = limited.Length()
	}
	if o.profile != "" {
		set(profile.CheckShifts(&o.cfg))
	}
	return errors.Join(errs...)
}

// splitList splits at commas; "" is no element.
func splitList(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

func readSizes(name string) (loadtest.Sizes, error) {
	f, err := os.Open(name)
	if err != nil {
		return loadtest.Sizes{}, err
	}
	defer f.Close()
	sizes, err := loadtest.ReadSizes(f)
	if err != nil {
		return loadtest.Sizes{}, fmt.Errorf("%s: %w", name, err)
	}
	return sizes, nil
}

func parseAccess(s string, a *loadtest.Access) (err error) {
	kind, rest, _ := strings.Cut(s, ":")
	*a = loadtest.Access{Kind: kind}
	switch kind {
	case loadtest.AccessZipf:
		a.Exponent, err = strconv.ParseFloat(rest, 64)
	case loadtest.AccessHot:
		keys, share, _ := strings.Cut(rest, ",")
		var err2 error
		a.HotKeys, err = strconv.ParseInt(keys, 10, 64)
		a.HotShare, err2 = strconv.ParseFloat(share, 64)
		err = errors.Join(err, err2)
	case loadtest.AccessUniform, loadtest.AccessScan:
		if rest != "" {
			err = fmt.Errorf("%s has nothing to say more", kind)
		}
	default:
		err = errors.New("it is none of uniform, zipf:S, hot:KEYS,SHARE, scan")
	}
	if err != nil {
		return fmt.Errorf("the access %q: %w", s, err)
	}
	return nil
}

func parseShift(s string, a *loadtest.Access) error {
	share, every, _ := strings.Cut(s, "@")
	var err1, err2 error
	a.ShiftBy, err1 = strconv.ParseFloat(share, 64)
	a.ShiftEvery, err2 = time.ParseDuration(every)
	if err := errors.Join(err1, err2); err != nil {
		return fmt.Errorf("the shift %q: %w", s, err)
	}
	return nil
}

func (o *options) tls() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: o.insecure}
	if o.ca == "" {
		return config, nil
	}
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, err
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", o.ca)
	}
	return config, nil
}
