// Command dashboard checks a Grafana dashboard where there is no Grafana: it asks a
// Prometheus every query of every panel, as Grafana would, names the panels that show
// nothing, and draws the others into one page, simply and in the dashboard's grid, so
// that somebody, or a browser without a screen, can look at it. It starts nothing.
//
//	go run ./dashboard -prometheus http://127.0.0.1:9090 -dashboard ../deploy/compose/grafana/dashboards/micelio.json -o page.html
//
// It ends with status 1 if a panel is empty that -may-be-empty does not name.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("dashboard", flag.ContinueOnError)
	var (
		server     = flags.String("prometheus", "http://127.0.0.1:9090", "`URL` of the Prometheus to ask")
		file       = flags.String("dashboard", "", "`file` of the dashboard")
		page       = flags.String("o", "", "`file` to draw the panels into; none: they are only checked")
		last       = flags.Duration("last", 5*time.Minute, "time to look back over")
		scrapes    = flags.Duration("scrape-interval", 5*time.Second, "time between two scrapes of the Prometheus")
		mayBeEmpty = flags.String("may-be-empty", "^$", "`regexp` of the titles of panels that may show nothing")
	)
	if err := flags.Parse(args); err != nil {
		return err
	}
	empty, err := regexp.Compile(*mayBeEmpty)
	if err != nil {
		return err
	}
	d, err := readDashboard(*file)
	if err != nil {
		return err
	}
	// Grafana's resolution, and its $__rate_interval: no rate is over less than
	// four scrapes.
	step := max(*last/300, time.Second).Round(time.Second)
	asked := span{end: time.Now(), length: *last, step: step, rate: max(4**scrapes, step+*scrapes)}
	client := &prometheus{server: *server}
	if err := d.fill(ctx, client, asked); err != nil {
		return err
	}
	if *page != "" {
		if err := writePage(*page, d, asked); err != nil {
			return err
		}
	}
	return d.report(out, empty)
}

// report names the panels without data and the queries without, and returns an error
// if a panel shows nothing that should show something.
func (d *dashboard) report(out io.Writer, mayBeEmpty *regexp.Regexp) error {
	shown, empty := 0, 0
	for _, p := range d.Panels {
		switch {
		case p.Type == "row":
			continue
		case len(p.Lines) > 0:
			shown++
			for _, t := range p.Targets {
				if t.lines == 0 {
					fmt.Fprintf(out, "panel %d, %q: nothing for %s\n", p.ID, p.Title, t.Expr)
				}
			}
		case mayBeEmpty.MatchString(p.Title):
			fmt.Fprintf(out, "panel %d, %q, shows nothing, as it may\n", p.ID, p.Title)
		default:
			empty++
			fmt.Fprintf(out, "panel %d, %q, SHOWS NOTHING\n", p.ID, p.Title)
		}
	}
	fmt.Fprintf(out, "%d panels show data\n", shown)
	if empty > 0 {
		return fmt.Errorf("%d panels show nothing", empty)
	}
	if shown == 0 {
		return errors.New("the dashboard has no panels")
	}
	return nil
}
