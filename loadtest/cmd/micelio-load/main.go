// Command micelio-load puts load on nodes and measures what they make of it.
package main

func main() {}
