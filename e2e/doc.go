// Package e2e tests the program as its users run it: real processes, real
// sockets, real clients. It exports nothing and imports nothing of ours but the
// S3 services that stand behind the program.
package e2e
