// Package console is what people see of a node: one page that needs nothing but
// the node, the same as JSON and as a stream of events, and the figures of the
// last hour. It asks a [Source] and knows nothing of how a node works.
package console
