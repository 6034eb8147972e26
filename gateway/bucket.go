package gateway

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"time"
)

const (
	// ownerID is the one owner of everything: there are no accounts.
	ownerID = "micelio"

	storageClass = "STANDARD"

	// defaultRegion is the region that S3 spells as no location at all.
	defaultRegion = "us-east-1"

	isoMillis = "2006-01-02T15:04:05.000Z"
)

var errNoSuchBucket = &apiError{status: http.StatusNotFound, code: "NoSuchBucket", message: "The specified bucket does not exist."}

// serveService serves "/": the list of the one bucket.
func (x *exchange) serveService() error {
	x.op = OpBucket
	if x.r.Method != http.MethodGet {
		return methodNotAllowed("GET")
	}
	return x.sendXML(http.StatusOK, bucketList{
		Owner: owner{ownerID, ownerID},
		// When the bucket was made is not known; every node gives the same answer.
		Buckets: []listedBucket{{Name: x.Bucket, CreationDate: time.Unix(0, 0).UTC().Format(isoMillis)}},
	})
}

// serveOtherBucket serves every request on a bucket that is not ours.
func (x *exchange) serveOtherBucket(t target) error {
	if x.r.Method == http.MethodPut && t.key == "" {
		x.op = OpBucket
		return &apiError{status: http.StatusForbidden, code: "AccessDenied", message: "Buckets cannot be created here."}
	}
	return errNoSuchBucket
}

// serveBucket serves the requests on the bucket.
func (x *exchange) serveBucket(t target) error {
	x.op = OpBucket
	switch x.r.Method {
	case http.MethodGet:
		return x.getBucket(t.query)
	case http.MethodHead:
		x.w.Header().Set("X-Amz-Bucket-Region", x.Region)
		return x.sendEmpty(http.StatusOK)
	case http.MethodPost:
		if t.query.Has("delete") {
			x.op = OpDelete
			return x.deleteObjects()
		}
		return notImplemented("Of the POST requests on a bucket only ?delete is implemented.")
	}
	for name := range t.query {
		if name != "x-id" {
			return notImplemented("Buckets cannot be configured by requests.")
		}
	}
	if x.r.Method == http.MethodDelete {
		return notImplemented("The bucket is part of the configuration and cannot be removed.")
	}
	// Clients that make sure of their bucket (restic, mc) go on only after a 200.
	x.w.Header().Set("Location", "/"+x.Bucket)
	return x.sendEmpty(http.StatusOK)
}

// getBucket serves a listing or one of the bucket's subresources.
func (x *exchange) getBucket(query url.Values) error {
	switch {
	case query.Has("location"):
		doc := location{Region: x.Region}
		if x.Region == defaultRegion {
			doc.Region = ""
		}
		return x.sendXML(http.StatusOK, doc)
	case query.Has("versioning"):
		return x.sendXML(http.StatusOK, versioning{}) // never enabled
	case query.Has("acl"):
		return x.sendXML(http.StatusOK, newACL())
	}
	for name, code := range unconfigured {
		if query.Has(name) {
			return &apiError{status: http.StatusNotFound, code: code, message: "The bucket has no such configuration."}
		}
	}
	for _, name := range bucketSubresources {
		if query.Has(name) {
			return notImplemented("The subresource " + name + " of buckets is not implemented.")
		}
	}
	x.op = OpList
	return x.listObjects(query)
}

// unconfigured maps subresources to the code that says that there is no such
// configuration, which is true and what clients go on from: mc asks for
// object-lock before each upload.
var unconfigured = map[string]string{
	"cors":              "NoSuchCORSConfiguration",
	"encryption":        "ServerSideEncryptionConfigurationNotFoundError",
	"lifecycle":         "NoSuchLifecycleConfiguration",
	"object-lock":       "ObjectLockConfigurationNotFoundError",
	"ownershipControls": "OwnershipControlsNotFoundError",
	"policy":            "NoSuchBucketPolicy",
	"publicAccessBlock": "NoSuchPublicAccessBlockConfiguration",
	"replication":       "ReplicationConfigurationNotFoundError",
	"tagging":           "NoSuchTagSet",
	"website":           "NoSuchWebsiteConfiguration",
}

// bucketSubresources are the ones that must not be taken for a listing.
var bucketSubresources = []string{
	"accelerate", "analytics", "intelligent-tiering", "inventory", "logging", "metrics", "notification",
	"policyStatus", "requestPayment", "session", "uploads", "versions",
}

type owner struct {
	ID          string
	DisplayName string
}

type bucketList struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ ListAllMyBucketsResult"`
	Owner   owner
	Buckets []listedBucket `xml:"Buckets>Bucket"`
}

type listedBucket struct {
	Name         string
	CreationDate string
}

type location struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ LocationConstraint"`
	Region  string   `xml:",chardata"`
}

type versioning struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ VersioningConfiguration"`
}

// An acl is the access control list of a bucket without any: all to its owner.
type acl struct {
	XMLName xml.Name `xml:"http://s3.amazonaws.com/doc/2006-03-01/ AccessControlPolicy"`
	Owner   owner
	Grant   grant `xml:"AccessControlList>Grant"`
}

type grant struct {
	Grantee struct {
		Instance string `xml:"xmlns:xsi,attr"`
		Type     string `xml:"xsi:type,attr"`
		owner
	}
	Permission string
}

func newACL() acl {
	a := acl{Owner: owner{ownerID, ownerID}}
	a.Grant.Grantee.Instance = "http://www.w3.org/2001/XMLSchema-instance"
	a.Grant.Grantee.Type = "CanonicalUser"
	a.Grant.Grantee.owner = a.Owner
	a.Grant.Permission = "FULL_CONTROL"
	return a
}
