package judges

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Key is a key of the verifiable index (docs/spec/vindex.md §2).
type Key [sha256.Size]byte

// Name is what somebody asks an index for; the kind is empty if the map function has none.
type Name struct {
	Kind, Text string
}

// Key is the key of a name.
func (n Name) Key() Key {
	if n.Kind == "" {
		return sha256.Sum256([]byte(n.Text))
	}
	return sha256.Sum256([]byte(n.Kind + "\x00" + n.Text))
}

// MapFn is a map function by its name, as this package reads docs/spec/vindex.md §2 and conda-entry.md.
type MapFn string

const conda = MapFn("conda-1")

// kinds are those of the function, none for json-field.
func (m MapFn) kinds() []string {
	if m == conda {
		return []string{"path", "name", "artifact", "subdir", "repo"}
	}
	return nil
}

// check says whether the function is one of those that this package can read.
func (m MapFn) check() error {
	if field, found := strings.CutPrefix(string(m), "json-field:"); m == conda || found && field != "" {
		return nil
	}
	return fmt.Errorf("map function %q is not conda-1 or json-field:<f>", m)
}

// Names are what an entry is found under; nothing for what cannot be read.
func (m MapFn) Names(entry []byte) []Name {
	if _, found := readAnchor(entry); found || isDisavowal(entry) {
		return nil
	}
	if field, found := strings.CutPrefix(string(m), "json-field:"); found {
		object, err := parseObject(entry)
		if err != nil {
			return nil
		}
		if value, isString := object[field].(string); isString {
			return []Name{{Text: value}}
		}
		return nil
	}
	return condaNames(entry)
}

// maxDepth is how many objects and arrays may stand inside one another.
const maxDepth = 64

// integer is a number of which nothing is read but its digits.
type integer string

// otherNumber is one with a fraction or an exponent, or -0, or beyond what JSON numbers are exact for.
type otherNumber string

// parseObject reads one JSON object. jsontext refuses by itself what is not UTF-8, equal names, and halves of surrogate pairs.
func parseObject(entry []byte) (map[string]any, error) {
	decoder := jsontext.NewDecoder(bytes.NewReader(entry))
	value, err := parseValue(decoder)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.ReadToken(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("something follows the value (%v)", err)
	}
	object, isObject := value.(map[string]any)
	if !isObject {
		return nil, errors.New("no object")
	}
	return object, nil
}

func parseValue(decoder *jsontext.Decoder) (any, error) {
	token, err := decoder.ReadToken()
	if err != nil {
		return nil, err
	}
	if decoder.StackDepth() > maxDepth {
		return nil, errors.New("nested too deeply")
	}
	switch token.Kind() {
	case '{':
		object := map[string]any{}
		for decoder.PeekKind() != '}' {
			name, err := decoder.ReadToken()
			if err != nil {
				return nil, err
			}
			text := name.String()
			if object[text], err = parseValue(decoder); err != nil {
				return nil, err
			}
		}
		_, err = decoder.ReadToken()
		return object, err
	case '[':
		array := []any{}
		for decoder.PeekKind() != ']' {
			element, err := parseValue(decoder)
			if err != nil {
				return nil, err
			}
			array = append(array, element)
		}
		_, err = decoder.ReadToken()
		return array, err
	case '0':
		return parseNumber(token.String()), nil
	case '"':
		return token.String(), nil
	case 't', 'f':
		return token.Bool(), nil
	default:
		return nil, nil
	}
}

const maxInteger = 1<<53 - 1

func parseNumber(digits string) any {
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || digits == "-0" || n > maxInteger || n < -maxInteger {
		return otherNumber(digits)
	}
	return integer(digits)
}

// parseCanonical reads one object in the canonical form of conda-entry.md §1.
func parseCanonical(entry []byte) (map[string]any, error) {
	object, err := parseObject(entry)
	if err != nil {
		return nil, err
	}
	if hasOtherNumber(object) {
		return nil, errors.New("a number without a canonical form")
	}
	canonical := jsontext.Value(bytes.Clone(entry))
	if err := canonical.Canonicalize(); err != nil {
		return nil, err
	}
	if !bytes.Equal(canonical, entry) {
		return nil, errors.New("not in canonical form")
	}
	return object, nil
}

func hasOtherNumber(value any) bool {
	switch value := value.(type) {
	case otherNumber:
		return true
	case map[string]any:
		for _, member := range value {
			if hasOtherNumber(member) {
				return true
			}
		}
	case []any:
		for _, element := range value {
			if hasOtherNumber(element) {
				return true
			}
		}
	}
	return false
}

// anchor is an entry of anchor form (docs/spec/vindex.md §6); root is nil in a void one.
type anchor struct {
	mapFn string
	root  *[sha256.Size]byte
	size  int64
}

func readAnchor(entry []byte) (anchor, bool) {
	object, err := parseCanonical(entry)
	if err != nil || !hasMembers(object, "map_fn", "root", "tree_size", "type", "v") {
		return anchor{}, false
	}
	mapFn, isString := object["map_fn"].(string)
	size, isSize := natural(object["tree_size"])
	if !isString || !isSize || object["type"] != "vindex-root" || object["v"] != integer("1") {
		return anchor{}, false
	}
	read := anchor{mapFn: mapFn, size: size}
	if object["root"] == nil {
		return read, true
	}
	text, isString := object["root"].(string)
	if !isString || !isHash(text) {
		return anchor{}, false
	}
	root, _ := hex.DecodeString(text)
	read.root = (*[sha256.Size]byte)(root)
	return read, true
}

// writeAnchor gives the bytes of an anchor with a root.
func writeAnchor(mapFn MapFn, root [sha256.Size]byte, size int64) ([]byte, error) {
	quoted, err := jsontext.AppendQuote(nil, string(mapFn))
	if err != nil {
		return nil, err
	}
	return fmt.Appendf(nil, `{"map_fn":%s,"root":"%x","tree_size":%d,"type":"vindex-root","v":1}`, quoted, root, size), nil
}

func isDisavowal(entry []byte) bool {
	object, err := parseCanonical(entry)
	if err != nil || !hasMembers(object, "positions", "type", "v") {
		return false
	}
	positions, isArray := object["positions"].([]any)
	if !isArray || object["type"] != "vindex-disavow" || object["v"] != integer("1") {
		return false
	}
	for _, position := range positions {
		if _, isNatural := natural(position); !isNatural {
			return false
		}
	}
	return true
}

// hasMembers: exactly these members, of which those that end in ? may be absent.
func hasMembers(object map[string]any, names ...string) bool {
	left := len(object)
	for _, name := range names {
		name, optional := strings.CutSuffix(name, "?")
		if _, found := object[name]; found {
			left--
		} else if !optional {
			return false
		}
	}
	return left == 0
}

// natural is an integer from 0 to 2^53 - 1.
func natural(value any) (int64, bool) {
	digits, isInteger := value.(integer)
	if !isInteger {
		return 0, false
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	return n, err == nil && n >= 0
}

var (
	hexHash   = regexp.MustCompile(`^[0-9a-f]{64}$`)
	hexMD5    = regexp.MustCompile(`^[0-9a-f]{32}$`)
	condaRepo = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$`)
	condaPath = regexp.MustCompile(`^[a-z0-9_-]+/[^/]+$`)
	condaDir  = regexp.MustCompile(`^[a-z0-9_-]+$`)
	condaDate = regexp.MustCompile(`^[0-9]{4}-[0-9]{2}-[0-9]{2}$`)
)

func isHash(text string) bool { return hexHash.MatchString(text) }

// condaNames are the names of an entry that a log of conda-1 accepts (vindex.md §2.2, conda-entry.md §10).
func condaNames(entry []byte) []Name {
	if len(entry) > 65535 {
		return nil
	}
	object, err := parseCanonical(entry)
	repo, isString := object["repo"].(string)
	if err != nil || !isString || object["eco"] != "conda" || object["v"] != integer("1") ||
		!condaRepo.MatchString(repo) || len(repo) > 200 || strings.HasSuffix(repo, "/label/main") {
		return nil
	}
	under := "conda/" + repo
	switch object["type"] {
	case "record":
		return recordNames(object, under)
	case "tombstone":
		return tombstoneNames(object, under)
	case "snapshot":
		return snapshotNames(object, under)
	case "epoch":
		if _, isString := object["note"].(string); isString && hasMembers(object, "eco", "repo", "type", "v", "note") {
			return []Name{{"repo", under}}
		}
	case "end":
		if _, isString := object["note"].(string); isString && hasMembers(object, "eco", "repo", "type", "v", "next", "note") &&
			isNext(object["next"]) {
			return []Name{{"repo", under}}
		}
	}
	return nil
}

func recordNames(object map[string]any, under string) []Name {
	if !hasMembers(object, "artifact", "eco", "meta", "meta_raw?", "path", "profile", "repo", "type", "v") || !isProfiledPath(object) {
		return nil
	}
	artifact, isObject := object["artifact"].(map[string]any)
	if !isObject || !isArtifact(artifact) {
		return nil
	}
	names := []Name{{"path", under + "/" + object["path"].(string)}}
	raw, hasRaw := object["meta_raw"]
	switch meta := object["meta"].(type) {
	case map[string]any:
		if hasRaw || !isDerived(artifact, meta) {
			return nil
		}
		if name, isString := meta["name"].(string); isString && !strings.Contains(name, "/") {
			names = append(names, Name{"name", under + "/" + name})
		}
	case nil:
		if !isMetaRaw(raw) {
			return nil
		}
	default:
		return nil
	}
	if hash, found := artifact["sha256"].(string); found {
		return append(names, Name{"artifact", "sha256:" + hash})
	}
	if hash, found := artifact["md5"].(string); found {
		return append(names, Name{"artifact", "md5:" + hash})
	}
	return names
}

func isProfiledPath(object map[string]any) bool {
	path, isString := object["path"].(string)
	return isString && condaPath.MatchString(path) && object["profile"] == "conda-repodata-1"
}

// isArtifact looks at the form alone (conda-entry.md §4).
func isArtifact(artifact map[string]any) bool {
	if !hasMembers(artifact, "md5?", "sha256?", "size?") {
		return false
	}
	for name, value := range artifact {
		text, _ := value.(string)
		_, isSize := natural(value)
		if name == "md5" && !hexMD5.MatchString(text) || name == "sha256" && !isHash(text) || name == "size" && !isSize {
			return false
		}
	}
	return true
}

// isDerived: artifact is exactly what meta gives.
func isDerived(artifact, meta map[string]any) bool {
	derived := map[string]any{}
	for name, form := range map[string]*regexp.Regexp{"md5": hexMD5, "sha256": hexHash} {
		text, _ := meta[name].(string)
		if isASCII(text) && form.MatchString(strings.ToLower(text)) {
			derived[name] = strings.ToLower(text)
		}
	}
	if _, isSize := natural(meta["size"]); isSize {
		derived["size"] = meta["size"]
	}
	if len(derived) != len(artifact) {
		return false
	}
	for name, value := range derived {
		if artifact[name] != value {
			return false
		}
	}
	return true
}

func isASCII(text string) bool {
	return strings.IndexFunc(text, func(c rune) bool { return c >= utf8.RuneSelf }) < 0
}

func isMetaRaw(value any) bool {
	raw, isObject := value.(map[string]any)
	if !isObject || !hasMembers(raw, "reason", "sha256", "size") {
		return false
	}
	hash, _ := raw["sha256"].(string)
	_, isSize := natural(raw["size"])
	switch raw["reason"] {
	case "size", "depth", "type", "surrogate", "duplicate", "integer", "float":
		return isSize && isHash(hash)
	}
	return false
}

func tombstoneNames(object map[string]any, under string) []Name {
	if !hasMembers(object, "eco", "name?", "path", "profile", "reason", "repo", "type", "v") || !isProfiledPath(object) ||
		object["reason"] != "removed" && object["reason"] != "vanished" {
		return nil
	}
	names := []Name{{"path", under + "/" + object["path"].(string)}}
	value, found := object["name"]
	name, isString := value.(string)
	switch {
	case found && !isString:
		return nil
	case found && !strings.Contains(name, "/"):
		return append(names, Name{"name", under + "/" + name})
	}
	return names
}

func snapshotNames(object map[string]any, under string) []Name {
	subdir, _ := object["subdir"].(string)
	date, _ := object["date"].(string)
	digest, _ := object["digest"].(string)
	_, isCount := natural(object["count"])
	_, noDay := time.Parse(time.DateOnly, date)
	if !hasMembers(object, "count", "date", "digest", "eco", "profile", "repo", "source", "subdir", "type", "v") || !isCount ||
		!condaDir.MatchString(subdir) || !condaDate.MatchString(date) || noDay != nil || !isHash(digest) ||
		object["profile"] != "conda-repodata-1" || object["source"] != "json" && object["source"] != "shards" {
		return nil
	}
	return []Name{{"subdir", under + "/" + subdir}}
}

// isNext is null or an origin (conda-entry.md §3.5).
func isNext(value any) bool {
	if value == nil {
		return true
	}
	origin, isString := value.(string)
	return isString && 1 <= len(origin) && len(origin) <= 255 && strings.IndexFunc(origin, func(c rune) bool {
		return c == '+' || unicode.IsSpace(c) || unicode.IsControl(c)
	}) < 0
}
