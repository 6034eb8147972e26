package node

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/micelio/micelio/object"
	"github.com/micelio/micelio/ring"
	"github.com/micelio/micelio/tiers"
)

// A SettingError is one problem of a configuration.
type SettingError struct {
	// Setting is the name of the setting as its flag has it, without dashes:
	// "peer-listen". Empty if the problem is no single setting's.
	Setting string

	// Problem is one line that says what is wrong and what to do.
	Problem string
}

func (e *SettingError) Error() string {
	if e.Setting == "" {
		return e.Problem
	}
	return e.Setting + ": " + e.Problem
}

// Validate checks the configuration as it will be used, derived fields
// included. It touches neither disk nor network. The error joins a
// *SettingError for each problem there is; nil means there is none.
func (c Config) Validate() error {
	v := &validator{Config: c.Resolved()}
	v.names()
	v.clusterSecret()
	v.addresses()
	v.storage()
	v.sizes()
	v.classes()
	v.s3()
	v.cdn()
	v.lifecycle()
	return errors.Join(v.errs...)
}

// A validator collects the problems of a resolved configuration.
type validator struct {
	Config
	errs []error
}

func (v *validator) fault(setting, format string, args ...any) {
	v.errs = append(v.errs, &SettingError{Setting: setting, Problem: fmt.Sprintf(format, args...)})
}

// oneOf reports a value that is none of the choices.
func (v *validator) oneOf(setting, value string, choices ...string) {
	if !slices.Contains(choices, value) {
		last := len(choices) - 1
		v.fault(setting, "%q is unknown: use %s or %s", value, strings.Join(choices[:last], ", "), choices[last])
	}
}

// identifier is what names of nodes and clusters may be: they travel in gossip
// packets of limited size, in headers, logs, metrics and file names. 64 bytes
// leave room for a host name and a random id.
var identifier = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// bucketName follows S3 and admits the upper case letters and underscores that
// its oldest buckets and some compatible services have.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]$`)

const bucketRule = "%q is not a bucket name: use 3 to 63 letters, digits, dots, dashes and underscores, first and last a letter or digit"

func (v *validator) names() {
	v.oneOf("env", v.Env, Development, Test, Production)
	const rule = "%q is not a name: use 1 to 64 letters, digits, dots, dashes and underscores, first a letter or digit"
	if v.Name != "" && !identifier.MatchString(v.Name) {
		v.fault("name", rule, v.Name)
	}
	if !identifier.MatchString(v.Cluster) {
		v.fault("cluster", rule, v.Cluster)
	}
	if v.Weight < 1 || v.Weight > ring.MaxWeight {
		v.fault("weight", "%d is no weight: write a number from 1 to %d", v.Weight, ring.MaxWeight)
	}
	if v.Bucket != v.S3.Bucket && !bucketName.MatchString(v.Bucket) {
		v.fault("bucket", bucketRule, v.Bucket)
	}
}

// A listener is a setting that names an address to bind.
type listener struct {
	setting, address string
	host             string
	port             uint16
}

func (v *validator) addresses() {
	var bound []listener
	for _, l := range []listener{
		{setting: "listen", address: v.Listen},
		{setting: "peer-listen", address: v.PeerListen},
		{setting: "gossip-listen", address: v.GossipListen},
		{setting: "admin-listen", address: v.AdminListen},
	} {
		var err error
		if l.host, l.port, err = splitAddress(l.address); err != nil {
			v.fault(l.setting, "%q %v", l.address, err)
			continue
		}
		keyed := l.setting == "gossip-listen" || l.setting == "peer-listen" // they ask for the cluster's secret
		sealed := keyed && len(v.ClusterSecrets()) > 0
		if !v.AllowAnonymous && !sealed && !isLoopback(l.host) {
			instead := "listen on 127.0.0.1"
			if keyed {
				instead = "set --cluster-secret-file, listen on 127.0.0.1"
			}
			v.fault(l.setting, "%q can be reached from other machines and nothing asks for credentials: "+
				instead+", or give --allow-anonymous if your network keeps strangers out", l.address)
		}
		if i := slices.IndexFunc(bound, l.overlaps); i >= 0 {
			v.fault(l.setting, "%q is taken by --%s: give each listener a port of its own", l.address, bound[i].setting)
		}
		bound = append(bound, l)
	}
	v.askable(bound)
	v.advertised("peer-advertise", v.PeerAdvertise)
	v.advertised("gossip-advertise", v.GossipAdvertise)
	for _, address := range v.Join {
		if _, port, err := splitAddress(address); err != nil {
			v.fault("join", "%q %v", address, err)
		} else if port == 0 || isUnspecified(address) {
			v.fault("join", "%q is not the address of a node: write the HOST:PORT at which it listens for gossip", address)
		}
	}
}

// askable reports a node that other machines would find and could not ask: they
// would have it in their views at an address that leads each of them to itself.
func (v *validator) askable(bound []listener) {
	gossip := slices.IndexFunc(bound, func(l listener) bool { return l.setting == "gossip-listen" })
	peer := slices.IndexFunc(bound, func(l listener) bool { return l.setting == "peer-listen" })
	if gossip < 0 || peer < 0 || v.PeerAdvertise != "" || isLoopback(bound[gossip].host) || !isLoopback(bound[peer].host) {
		return
	}
	v.fault("peer-listen", "%q is for this machine only: the node can be found by other machines through --gossip-listen but not asked: "+
		"listen on an address that they reach, or say --peer-advertise", v.PeerListen)
}

func (v *validator) advertised(setting, address string) {
	if address == "" {
		return
	}
	if _, _, err := splitAddress(address); err != nil {
		v.fault(setting, "%q %v", address, err)
	} else if isUnspecified(address) {
		v.fault(setting, "%q is no address that others can reach: write the HOST:PORT of this machine", address)
	}
}

// overlaps reports whether two listeners cannot both be bound.
func (l listener) overlaps(other listener) bool {
	return l.port != 0 && l.port == other.port &&
		(l.host == other.host || isUnspecified(l.address) || isUnspecified(other.address))
}

// splitAddress reads HOST:PORT with a decimal port. The error completes the
// sentence that begins with the address.
func splitAddress(address string) (host string, port uint16, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil || strings.ContainsAny(host, " /\t") {
		return "", 0, errors.New("is not an address: write HOST:PORT, for example 127.0.0.1:8080")
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("has no valid port: write a number from 0 to 65535 after the last colon")
	}
	return host, uint16(n), nil
}

// isLoopback reports whether a host is certainly this machine and no other. No
// name but localhost is, whatever it resolves to today.
func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return strings.EqualFold(host, "localhost")
	}
	return ip.Unmap().IsLoopback()
}

// isUnspecified reports whether the host of a valid address stands for every
// interface.
func isUnspecified(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.Unmap().IsUnspecified()
}

func (v *validator) storage() {
	v.oneOf("backend", v.Backend, BackendTiered, BackendLocal, BackendS3)
	v.oneOf("origin-backend", v.OriginBackend, BackendLocal, BackendS3)
	v.oneOf("fill", v.Fill, FillRange, FillWhole)
	if v.SSDBytes > 0 && v.SSDBytes < tiers.MinLogCapacity {
		v.fault("ssd-bytes", "%d bytes are too few: at least %d, or 0 to turn the tier off", v.SSDBytes, int64(tiers.MinLogCapacity))
	}
	if !v.Tiered() || v.SSDBytes <= 0 || v.Origin() != BackendLocal {
		return
	}
	// A cache inside the origin would be listed as objects; an origin inside
	// the cache would be emptied with it.
	if contains(v.LocalPath, v.CachePath) || contains(v.CachePath, v.LocalPath) {
		v.fault("cache-path", "%q and --local-path %q lie inside one another: give the cache a folder of its own",
			v.CachePath, v.LocalPath)
	}
}

// contains reports whether path is folder or lies below it, by their names.
func contains(folder, path string) bool {
	absFolder, err1 := filepath.Abs(folder)
	absPath, err2 := filepath.Abs(path)
	if cmp.Or(err1, err2) != nil {
		return false
	}
	rel, err := filepath.Rel(absFolder, absPath)
	return err == nil && filepath.IsLocal(rel)
}

func (v *validator) sizes() {
	if v.MaxObjectBytes <= 0 {
		v.fault("max-object-bytes", "%d admits no object: write a size above 0, for example 5GiB", v.MaxObjectBytes)
	}
	if v.FillMemoryBytes <= 0 {
		v.fault("fill-memory-bytes", "%d leaves no memory to read from the origin: write a size above 0, for example 64MiB", v.FillMemoryBytes)
	}
}

func (v *validator) classes() {
	_, err := object.NewClasses(v.VerifiedKeys, nil)
	v.faults("verified-keys", err)
	_, err = object.NewClasses(nil, v.ImmutableKeys)
	v.faults("immutable-keys", err)
	_, err = object.NewStaleness(v.Staleness)
	v.faults("staleness", err)
	_, err = object.NewPatterns(v.PrivateKeys)
	v.faults("private-keys", err)
	if v.CanaryInterval < 0 {
		v.fault("canary-interval", "%v is negative: write 0 to turn the canary off", v.CanaryInterval)
	}
}

// faults reports each of the errors that err joins.
func (v *validator) faults(setting string, err error) {
	if err == nil {
		return
	}
	for line := range strings.Lines(err.Error()) {
		v.fault(setting, "%s: correct it or remove it", strings.TrimSpace(line))
	}
}

func (v *validator) lifecycle() {
	if v.DrainDelay < 0 {
		v.fault("drain-delay", "%v is negative: write 0 for no delay", v.DrainDelay)
	}
	if v.DrainHandover < 0 {
		v.fault("drain-handover", "%v is negative: write 0 to hand nothing on", v.DrainHandover)
	}
	if v.DrainTimeout <= 0 {
		v.fault("drain-timeout", "%v leaves no time to finish requests: write a duration above 0, for example 20s", v.DrainTimeout)
	}
	if v.AccessLogRate < 0 {
		v.fault("access-log-rate", "%d is negative: write 0 to log no request that went well", v.AccessLogRate)
	}
	v.oneOf("log-format", v.LogFormat, LogAuto, LogText, LogJSON)
}
