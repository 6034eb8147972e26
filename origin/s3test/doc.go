// Package s3test has S3 services for tests: real ones, started as processes on
// free ports, and a fake in this process whose answers a test can spoil. Only
// tests import it.
//
// The programs are built by scripts/build-test-servers.sh into bin/tools. A
// test whose program is missing is skipped, or fails if MICELIO_TEST_TOOLS is
// "required".
package s3test
