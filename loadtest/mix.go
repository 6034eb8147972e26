package loadtest

import "time"

// A Mix is what a run asks for: one or more parts, each a population of objects
// with keys, sizes and a way to be used of its own.
type Mix struct {
	Parts []Part `json:"parts"`
}

// A Part is a population of objects and how it is asked for.
type Part struct {
	// Name tells the parts apart, in reports and in the keys: lower-case letters,
	// digits and dashes.
	Name string `json:"name"`

	// Weight is the share of the requests that go to this part, relative to the
	// weights of the others. With one part it can be 0.
	Weight float64 `json:"weight,omitempty"`

	// Keys is how many objects there are.
	Keys int64 `json:"keys"`

	// Class is the class of the keys for the nodes, which decides what a read may
	// be answered from. See the constants.
	Class string `json:"class"`

	// Access says which key is next.
	Access Access `json:"access"`

	// Sizes says how large the objects are.
	Sizes Sizes `json:"sizes"`

	// Ops says how often each operation is asked for.
	Ops Ops `json:"ops"`
}

// The classes of keys. The names of a part's objects are made so that the default
// patterns of a node put them into the class.
const (
	// ClassImmutable keys are artifacts/sha256:HEX/PART. A node answers from what it
	// has. The HEX is drawn from all that determines the bytes, so whoever knows the
	// key can tell what must be in it.
	ClassImmutable = "immutable"

	// ClassVerified keys are artifacts/sha256:HEX, and HEX is the digest of the
	// bytes, which nodes check. All bodies are made once before the run to know the
	// names.
	ClassVerified = "verified"

	// ClassMutable keys are load/PART/HEX. A node asks the origin about each read.
	ClassMutable = "mutable"
)

// An Op is an operation on an object.
type Op uint8

// The operations.
const (
	OpGet   Op = iota // the whole object
	OpHead            // its headers
	OpPut             // stores a new object or, with mutable keys, one of the part's again
	OpRange           // a part of the object
	OpList            // the first names of the part

	opCount
)

// Ops are the relative frequencies of the operations.
type Ops struct {
	Get   float64 `json:"get,omitempty"`
	Head  float64 `json:"head,omitempty"`
	Put   float64 `json:"put,omitempty"`
	Range float64 `json:"range,omitempty"`
	List  float64 `json:"list,omitempty"`
}

// An Access says how the keys of a part are chosen.
type Access struct {
	// Kind is one of the constants below; "" is AccessUniform.
	Kind string `json:"kind"`

	// Exponent is the s of AccessZipf: the key of rank k is asked for in proportion
	// to 1/k^s. 0 is uniform; 0.99 is what many caches see.
	Exponent float64 `json:"exponent,omitempty"`

	// HotKeys are, with AccessHot, how many keys HotShare of the requests go to,
	// evenly. The rest go to the others, evenly.
	HotKeys  int64   `json:"hot_keys,omitempty"`
	HotShare float64 `json:"hot_share,omitempty"`

	// ShiftEvery, if not 0, replaces a share of the keys that are asked for by
	// others of the part at these intervals: what was hot
	// grows cold. ShiftBy is the share, 0 to 1.
	ShiftEvery time.Duration `json:"shift_every_ns,omitempty"`
	ShiftBy    float64       `json:"shift_by,omitempty"`
}

// The kinds of Access.
const (
	AccessUniform = "uniform"
	AccessZipf    = "zipf" // which key has which rank is drawn from the seed
	AccessHot     = "hot"
	AccessScan    = "scan" // one after the other, and from the front again
)

// Sizes says how large objects are, in bytes. The size of an object depends on
// its key and the seed alone.
type Sizes struct {
	// Kind is one of the constants below; "" is SizesFixed.
	Kind string `json:"kind"`

	// Bytes is the size with SizesFixed, and the median with SizesLogNormal.
	Bytes int64 `json:"bytes,omitempty"`

	// Sigma is the standard deviation of the logarithm of the size, with
	// SizesLogNormal. 0 is the same as fixed; 1 makes a sixth of the objects 2.7
	// times the median or more.
	Sigma float64 `json:"sigma,omitempty"`

	// Min and Max bound the sizes with SizesLogNormal; a Max of 0 is 1 GiB.
	Min int64 `json:"min,omitempty"`
	Max int64 `json:"max,omitempty"`

	// List holds the sizes to draw from, each as likely as it occurs in it, with
	// SizesList. See ReadSizes.
	List []int64 `json:"list,omitempty"`
}

// The kinds of Sizes.
const (
	SizesFixed     = "fixed"
	SizesLogNormal = "lognormal"
	SizesList      = "list"
)

// DefaultMix is reads of a million objects of 1 KiB whose popularity follows
// Zipf's law with an exponent of 0.99.
func DefaultMix() Mix {
	return Mix{Parts: []Part{{
		Name:   "hot-read",
		Weight: 1,
		Keys:   1_000_000,
		Class:  ClassImmutable,
		Access: Access{Kind: AccessZipf, Exponent: 0.99},
		Sizes:  Sizes{Kind: SizesFixed, Bytes: 1 << 10},
		Ops:    Ops{Get: 1},
	}}}
}
