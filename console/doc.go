// Package console is what people see of a node: one page that needs nothing but
// the node, the same as JSON and as a stream of events, and the figures of the
// last hour. It asks a [Source] and knows nothing of how a node works. It changes
// nothing, and asks nobody for credentials: that is for whoever serves it.
//
// The page is the folder page, as it was written. To look at one of a node that
// is made up:
//
//	go test ./console -run TestServeDemo -timeout 0 -demo 127.0.0.1:8099
//	go test ./console -run TestPictures -pictures FOLDER
package console
