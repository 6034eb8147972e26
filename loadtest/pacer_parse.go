package loadtest

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// PacerSyntax explains what ParsePacer reads, for the help of a command.
const PacerSyntax = `500                   500 requests a second, evenly
30s@50,1m@200         50/s for 30 s, then 200/s for a minute, then the end; a rate of 0 is a pause
ramp:100..2000@30s    from 100/s to 2000/s in 30 s, then 2000/s
sine:500~300@1m       between 200/s and 800/s, up and down in a minute
poisson:RATE          any of these, but each request at random: as from many clients
max                   a closed loop: each connection sends when its last request is answered`

// Bounds of what a spec may ask for. More is a slip of the finger: a core can
// send some 150,000 requests a second.
const (
	maxRate  = 10e6
	maxTime  = 1000 * time.Hour
	maxSteps = 1000
)

// ParsePacer reads a Pacer as PacerSyntax explains it. The seed is for arrivals
// at random. What it reads, String of the Pacer gives back, in the shortest form.
func ParsePacer(spec string, seed uint64) (Pacer, error) {
	p, err := parsePacer(spec, seed)
	if err != nil {
		return nil, fmt.Errorf("the rate %q: %w", spec, err)
	}
	return p, nil
}

func parsePacer(spec string, seed uint64) (Pacer, error) {
	kind, rest, named := strings.Cut(spec, ":")
	switch {
	case spec == "max":
		return Max{}, nil
	case named && kind == "poisson":
		if strings.HasPrefix(rest, "poisson:") || rest == "max" {
			return nil, fmt.Errorf("%s is not a rate that arrivals can have", rest)
		}
		of, err := parsePacer(rest, seed)
		if err != nil {
			return nil, err
		}
		return NewPoisson(of, seed), nil
	case named && kind == "ramp":
		return parseRamp(rest)
	case named && kind == "sine":
		return parseSine(rest)
	case named:
		return nil, fmt.Errorf("%q is neither ramp, sine nor poisson", kind)
	case strings.Contains(spec, "@"):
		return parseSteps(spec)
	}
	rate, err := parseRate(spec)
	if err == nil && rate == 0 {
		err = errNoRate
	}
	return Constant(rate), err
}

var errNoRate = errors.New("nothing would ever be sent")

func parseRamp(spec string) (Pacer, error) {
	rates, over, ok1 := strings.Cut(spec, "@")
	from, to, ok2 := strings.Cut(rates, "..")
	if !ok1 || !ok2 {
		return nil, errors.New("a ramp is FROM..TO@DURATION")
	}
	var r Ramp
	var errs [3]error
	r.From, errs[0] = parseRate(from)
	r.To, errs[1] = parseRate(to)
	r.Over, errs[2] = parseTime(over)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if r.From == 0 && r.To == 0 {
		return nil, errNoRate
	}
	return r, nil
}

func parseSine(spec string) (Pacer, error) {
	rates, period, ok1 := strings.Cut(spec, "@")
	mean, amplitude, ok2 := strings.Cut(rates, "~")
	if !ok1 || !ok2 {
		return nil, errors.New("a sine is MEAN~AMPLITUDE@PERIOD")
	}
	var s Sine
	var errs [3]error
	s.Mean, errs[0] = parseRate(mean)
	s.Amplitude, errs[1] = parseRate(amplitude)
	s.Period, errs[2] = parseTime(period)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if s.Mean == 0 {
		return nil, errNoRate
	}
	if s.Amplitude > s.Mean {
		return nil, errors.New("the amplitude is more than the mean, so that the rate would fall below 0")
	}
	return s, nil
}

func parseSteps(spec string) (Pacer, error) {
	var steps Steps
	sum := 0.0
	for text := range strings.SplitSeq(spec, ",") {
		length, rate, ok := strings.Cut(text, "@")
		if !ok {
			return nil, errors.New("a step is DURATION@RATE")
		}
		var s Step
		var err1, err2 error
		s.For, err1 = parseTime(length)
		s.Rate, err2 = parseRate(rate)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		if steps = append(steps, s); len(steps) > maxSteps {
			return nil, fmt.Errorf("more than %d steps", maxSteps)
		}
		sum += s.Rate
	}
	if sum == 0 {
		return nil, errNoRate
	}
	return steps, nil
}

func parseRate(s string) (float64, error) {
	rate, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(rate) || rate < 0 || rate > maxRate {
		return 0, fmt.Errorf("%q is no number of requests a second from 0 to %g", s, maxRate)
	}
	if rate > 0 && rate < minRate {
		return 0, fmt.Errorf("%q is less than one request in %v", s, maxTime)
	}
	return math.Abs(rate), nil // -0 is 0
}

// minRate is one request in the longest time there is.
const minRate = float64(time.Second) / float64(maxTime)

func parseTime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil || d < time.Millisecond || d > maxTime {
		return 0, fmt.Errorf("%q is no duration from 1ms to %v", s, maxTime)
	}
	return d, nil
}

func (c Constant) String() string { return formatRate(float64(c)) }

func (r Ramp) String() string {
	return fmt.Sprintf("ramp:%s..%s@%s", formatRate(r.From), formatRate(r.To), formatTime(r.Over))
}

func (s Sine) String() string {
	return fmt.Sprintf("sine:%s~%s@%s", formatRate(s.Mean), formatRate(s.Amplitude), formatTime(s.Period))
}

func (s Steps) String() string {
	texts := make([]string, len(s))
	for i, step := range s {
		texts[i] = formatTime(step.For) + "@" + formatRate(step.Rate)
	}
	return strings.Join(texts, ",")
}

func (p *Poisson) String() string { return fmt.Sprintf("poisson:%v", p.of) }

func (Max) String() string { return "max" }

func formatRate(rate float64) string { return strconv.FormatFloat(rate, 'f', -1, 64) }

// formatTime leaves out the zeros of "1m0s".
func formatTime(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
