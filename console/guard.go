package console

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// pagePolicy lets the page have what comes from its own origin, and no script
// make markup of text. Nobody may frame it.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// unregistrable are ends of names that nobody can have registered: by RFC 6761,
// 6762 and 8375 and ICANN's resolution of 2024-07-29, and what Kubernetes keeps
// for itself.
var unregistrable = []string{".localhost", ".test", ".local", ".home.arpa", ".internal", ".svc"}

// A hostGuard knows by which names a node may be asked for.
type hostGuard struct {
	hosts []string
	hint  string
}

// Guard lets through to next what a browser may ask for on behalf of nobody but
// the one who sits before it, and sets the headers that keep the answers from
// others. It is for everything that an admin listener serves to people.
//
// A page of somebody else cannot read what it asks another origin for, with one
// exception, DNS rebinding: its own name, evil.example, is made to point to a
// node, and then its origin is the node's. So a request by a name that somebody
// could have registered for that gets 421, unless the name is this machine's or one of
// [Options.Hosts]. Addresses, localhost, names without a dot and those that end in
// .local, .internal, .svc and the like always do, so that SSH tunnels, containers,
// pods and port-forwards need no setting.
//
// A request that a browser says it sends for another site gets 403, so that no page
// can make a node work; but a link may lead to the page and to what only tells how
// the node is: /, /status, /history and /metrics.
//
// That holds where browsers say it. They send Sec-Fetch-Site to origins that they
// trust: HTTPS, localhost and loopback addresses. To a node that is reached over plain
// HTTP by another address an <img> or a link of somebody else's page still gets, for
// instance a profile's half minute of work. It reads nothing of the answer.
func (c *Console) Guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", pagePolicy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		if name := hostName(r.Host); !c.guard.knows(name) {
			why := fmt.Sprintf("%q is not known to be a name of this node: ask for it by its address", name)
			if c.guard.hint != "" {
				why += ", or " + c.guard.hint
			}
			http.Error(w, why, http.StatusMisdirectedRequest)
			return
		}
		if forAnotherSite(r) {
			http.Error(w, "this was asked for by the page of another site", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// hostName returns a Host header without its port, in lower case and without
// the dot that may end it.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
}

func (g *hostGuard) knows(name string) bool {
	if _, err := netip.ParseAddr(name); err == nil || !strings.Contains(name, ".") {
		return true
	}
	if slices.ContainsFunc(unregistrable, func(end string) bool { return strings.HasSuffix(name, end) }) {
		return true
	}
	return slices.ContainsFunc(g.hosts, func(host string) bool {
		host = strings.ToLower(host)
		return host == "*" || host == name || strings.HasPrefix(host, ".") && strings.HasSuffix(name, host)
	})
}

// linkable reports whether a link of another site may lead to a path: those that cost
// a glance and ask no other node.
func linkable(path string) bool {
	switch path {
	case "/", "/status", "/history", "/metrics":
		return true
	}
	return false
}

// forAnotherSite reports whether a browser says that it asks for another site
// than the console's own page or the one who sits before it. Browsers of today
// send Sec-Fetch-Site to addresses they trust, localhost above all, and Origin
// with what another origin asks for so as to read it; other programs send neither.
func forAnotherSite(r *http.Request) bool {
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || u.Host != r.Host {
			return true
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "none", "same-origin":
		return false
	}
	visit := r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
	return !visit || !linkable(r.URL.Path)
}
