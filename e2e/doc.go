// Package e2e tests the program as its users run it: real processes, real
// sockets, real clients. It exports nothing and imports nothing of ours.
package e2e
