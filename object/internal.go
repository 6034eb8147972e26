package object

import "strings"

const (
	// InternalPrefix begins the keys of objects that are the cluster's own.
	// Clients neither read, write nor see them listed.
	InternalPrefix = ".micelio-probe/"

	// CanaryPrefix begins the keys with which nodes watch each other: objects
	// like any other to every Store, but for the clients' sight.
	CanaryPrefix = InternalPrefix + "canary/"
)

// IsInternal reports whether a key is the cluster's own.
func IsInternal(key Key) bool { return strings.HasPrefix(string(key), InternalPrefix) }
