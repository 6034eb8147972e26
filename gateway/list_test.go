package gateway

import (
	"encoding/xml"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/micelio/micelio/object"
)

func fill(t *testing.T, keys ...object.Key) *memStore {
	t.Helper()
	m := newMemStore()
	for _, key := range keys {
		if _, err := m.Put(t.Context(), key, object.BytesSource([]byte("0123456789")), object.PutOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	m.modified(then)
	return m
}

func TestListingsAreTheDocumentsOfS3(t *testing.T) {
	store := fill(t, "a b&c", "dir/x")
	store.describe = func(info *object.Info) {
		info.Modified = then
		if info.Key == "a b&c" {
			info.ETag = "" // a listing may not know it
		}
	}
	url := serve(t, Config{Store: store}).URL
	for query, want := range map[string]string{
		"?list-type=2&delimiter=/": `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>micelio</Name><Prefix></Prefix>` +
			`<Delimiter>/</Delimiter><KeyCount>2</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>` +
			`<Contents><Key>a b&amp;c</Key><LastModified>2026-03-04T05:06:07.890Z</LastModified><Size>10</Size><StorageClass>STANDARD</StorageClass></Contents>` +
			`<CommonPrefixes><Prefix>dir/</Prefix></CommonPrefixes></ListBucketResult>`,
		"?encoding-type=url&max-keys=1": `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>micelio</Name><Prefix></Prefix>` +
			`<EncodingType>url</EncodingType><Marker></Marker><NextMarker>a%20b%26c</NextMarker><MaxKeys>1</MaxKeys><IsTruncated>true</IsTruncated>` +
			`<Contents><Key>a%20b%26c</Key><LastModified>2026-03-04T05:06:07.890Z</LastModified><Size>10</Size>` +
			`<Owner><ID>micelio</ID><DisplayName>micelio</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>`,
		"?list-type=2&fetch-owner=true&prefix=dir/&start-after=dir": `<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>micelio</Name><Prefix>dir/</Prefix>` +
			`<StartAfter>dir</StartAfter><KeyCount>1</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>false</IsTruncated>` +
			`<Contents><Key>dir/x</Key><LastModified>2026-03-04T05:06:07.890Z</LastModified><ETag>&#34;781e5e245d69b566979b86e28d23f2c7&#34;</ETag><Size>10</Size>` +
			`<Owner><ID>micelio</ID><DisplayName>micelio</DisplayName></Owner><StorageClass>STANDARD</StorageClass></Contents></ListBucketResult>`,
		"?location":   `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/">eu-central-1</LocationConstraint>`,
		"?versioning": `<VersioningConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></VersioningConfiguration>`,
	} {
		for _, bucket := range []string{"/micelio", "/micelio/"} {
			resp, doc := send(t, "GET", url+bucket+query, nil, nil)
			if resp.StatusCode != 200 || doc != xml.Header+want {
				t.Errorf("%s: %d\n got %s\nwant %s", query, resp.StatusCode, doc, want)
			}
		}
	}
}

func TestTheBucketAnswersWhatClientsAskBeforeTheyStart(t *testing.T) {
	url := serve(t, Config{Store: newMemStore(), Region: defaultRegion}).URL
	for _, c := range []struct {
		method, target string
		status         int
		contains       string
	}{
		{"GET", "/", 200, "<Bucket><Name>micelio</Name><CreationDate>1970-01-01T00:00:00.000Z</CreationDate></Bucket>"},
		{"HEAD", "/micelio", 200, ""},
		{"HEAD", "/other", 404, ""},
		{"GET", "/other?list-type=2", 404, "NoSuchBucket"},
		{"PUT", "/micelio", 200, ""},
		{"PUT", "/micelio/", 200, ""},
		{"GET", "/micelio?location", 200, `<LocationConstraint xmlns="http://s3.amazonaws.com/doc/2006-03-01/"></LocationConstraint>`},
		{"GET", "/micelio?object-lock=", 404, "ObjectLockConfigurationNotFoundError"},
		{"GET", "/micelio?policy", 404, "NoSuchBucketPolicy"},
		{"GET", "/micelio?acl", 200, `xsi:type="CanonicalUser"><ID>micelio</ID>`},
		{"GET", "/micelio?list-type=2&max-keys=5000", 200, "<MaxKeys>1000</MaxKeys>"},
		{"GET", "/micelio?list-type=2&max-keys=0", 200, "<KeyCount>0</KeyCount><MaxKeys>0</MaxKeys><IsTruncated>false</IsTruncated>"},
	} {
		resp, doc := send(t, c.method, url+c.target, nil, nil)
		if resp.StatusCode != c.status || !strings.Contains(doc, c.contains) {
			t.Errorf("%s %s: %d %s, want %d and %q", c.method, c.target, resp.StatusCode, doc, c.status, c.contains)
		}
	}
}

func TestAListingThatFailsIsNoShortListing(t *testing.T) {
	url := serve(t, Config{Store: &brokenList{fill(t, "a", "b", "c")}}).URL
	resp, doc := send(t, "GET", url+"/micelio?list-type=2", nil, nil)
	if resp.StatusCode != 503 || codeOf(doc) != "ServiceUnavailable" {
		t.Errorf("%d %s", resp.StatusCode, doc)
	}
}

func TestManyObjectsAreDeletedInOneRequest(t *testing.T) {
	keys := make([]object.Key, 0, 1000)
	doc := "<Delete>"
	for i := range 1000 {
		key := object.Key(fmt.Sprintf("k<%03d>&", i))
		keys = append(keys, key)
		doc += fmt.Sprintf("<Object><Key>k&lt;%03d&gt;&amp;</Key></Object>", i)
	}
	store := fill(t, append(keys, "left")...)
	url := serve(t, Config{Store: store}).URL + "/micelio?delete"
	resp, answer := send(t, "POST", url, nil, strings.NewReader(doc+"</Delete>"))
	if keys := store.keys(t); resp.StatusCode != 200 || len(keys) != 1 || strings.Count(answer, "<Deleted>") != 1000 {
		t.Errorf("%d, %d objects left: %.200s", resp.StatusCode, len(keys), answer)
	}
	if resp, answer := send(t, "POST", url, nil, strings.NewReader(doc+"<Object><Key>left</Key></Object></Delete>")); resp.StatusCode != 400 || len(store.keys(t)) != 1 {
		t.Errorf("1001 keys: %d %s", resp.StatusCode, answer)
	}
}

func TestEachKeyOfADeletionHasItsOwnOutcome(t *testing.T) {
	objects := `<Object><Key>a</Key></Object><Object><Key>missing</Key></Object><Object><Key>../x</Key></Object>` +
		`<Object><Key>b</Key><VersionId>1</VersionId></Object><Object><Key>c</Key><ETag>"x"</ETag></Object>` +
		`<Object><Key>d</Key><Size>1</Size></Object><Object><Key>e</Key><VersionId>null</VersionId><ETag>` + etag + `</ETag></Object>`
	for quiet, deleted := range map[string][]deleted{
		"true": nil, "false": {{"a"}, {"missing"}, {"e"}},
	} {
		store := fill(t, "a", "b", "c", "d", "e")
		url := serve(t, Config{Store: store}).URL + "/micelio?delete"
		_, answer := send(t, "POST", url, nil, strings.NewReader(
			`<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Quiet>`+quiet+`</Quiet>`+objects+`</Delete>`))
		var got deleteResult
		if err := xml.Unmarshal([]byte(answer), &got); err != nil {
			t.Fatal(err)
		}
		var failed []string
		for _, e := range got.Error {
			failed = append(failed, e.Key+" "+e.Code)
		}
		want := []string{"../x InvalidArgument", "b NoSuchVersion", "c PreconditionFailed", "d NotImplemented"}
		if !cmp.Equal(failed, want) || !cmp.Equal(got.Deleted, deleted) || len(store.keys(t)) != 3 {
			t.Errorf("quiet %s: failed %v, deleted %v", quiet, failed, got.Deleted)
		}
	}
}

func TestADeletionOfManyIsHeldToItsSums(t *testing.T) {
	store := fill(t, "a")
	url := serve(t, Config{Store: store}).URL + "/micelio?delete"
	for name, value := range map[string]string{
		"Content-Md5": "AAAAAAAAAAAAAAAAAAAAAA==", "X-Amz-Checksum-Crc32": "AAAAAA==", "X-Amz-Content-Sha256": strings.Repeat("1", 64),
	} {
		resp, doc := send(t, "POST", url, http.Header{name: {value}}, strings.NewReader("<Delete><Object><Key>a</Key></Object></Delete>"))
		if resp.StatusCode != 400 || len(store.keys(t)) != 1 {
			t.Errorf("%s: %d %s", name, resp.StatusCode, doc)
		}
	}
}
