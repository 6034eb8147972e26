// Package loadtest puts load on nodes and measures what they make of it.
package loadtest
