// Package object is the vocabulary of Micelio: keys and their classes,
// versions (ETags), ranges, conditions, errors, and [Store], the one interface
// that every holder of objects implements. It moves no bytes and keeps no state.
//
// A node is a stack of Stores. The local directory, S3, the RAM and SSD cache,
// another node across the network and the whole cluster all are one, pass the
// same conformance suite (package objecttest) and wrap one another, so every
// rule that holds between two layers is written once, on the methods of Store.
package object
