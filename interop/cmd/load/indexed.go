package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// jsonEntry is the i-th entry for an index by the member name: some names stand in many entries, and a third of the entries is odd.
func jsonEntry(salt string, i int) []byte {
	switch i % 30 {
	case 0:
		return fmt.Appendf(nil, "%snot JSON %d", salt, i)
	case 1:
		return fmt.Appendf(nil, `{"name":"twice","n":%d,"name":"twice","salt":%q}`, i, salt)
	case 2:
		return fmt.Appendf(nil, " {\r\n\t\"n\": [%d, 1e999, -0.50],\t\"n\\u0061me\" : \"\\ud83e\\udeb5 %d\\/\", \"salt\": %q } ", i, i%7, salt)
	case 3:
		return fmt.Appendf(nil, `{"n":%d,"name":"half a pair","salt":%q,"x":"\udeb5"}`, i, salt)
	case 4:
		return fmt.Appendf(nil, `{"n":%d,"name":"","salt":%q}`, i, salt)
	case 5: // As deep as it may be, and one deeper.
		depth := 63 + i/30%2
		return fmt.Appendf(nil, `{"n":%d,"name":"deep","salt":%q,"x":%s%s}`, i, salt, strings.Repeat("[", depth), strings.Repeat("]", depth))
	case 6:
		return fmt.Appendf(nil, `{"n":%d,"name":%q,"salt":%q}`, i, strings.Repeat("long ", 50+i%1000), salt)
	case 7: // An anchor of another version, which is an ordinary entry.
		return fmt.Appendf(nil, `{"map_fn":"json-field:name","name":%q,"root":null,"tree_size":%d,"type":"vindex-root","v":2}`, salt, i)
	case 8:
		return fmt.Appendf(nil, "{\"n\":%d,\"name\":\"bad \xff\",\"salt\":%q}", i, salt)
	default:
		name := i
		if i%2 == 0 {
			name = i % 90
		}
		return fmt.Appendf(nil, `{"n":%d,"name":"ü+%%&/ %d","salt":%q}`, i, name, salt)
	}
}

type object = map[string]any

// condaEntry is the i-th entry of conda-1: all types, of which most are records.
func condaEntry(salt string, i int) []byte {
	repo := []string{"interop", "interop/label/test"}[i%2]
	name := fmt.Sprintf("pkg%d", i%70)
	path := fmt.Sprintf("noarch/%s-%d-ü 0%s.conda", name, i%140, salt)
	entry := object{"eco": "conda", "repo": repo, "v": 1}
	set := func(members object) []byte {
		for name, value := range members {
			entry[name] = value
		}
		return canonical(entry)
	}
	hash := sha256.Sum256(fmt.Append(nil, salt, i))
	text := hex.EncodeToString(hash[:])
	switch i % 25 {
	case 0:
		return set(object{"type": "epoch", "note": fmt.Sprintf("begins \"here\" %d\n%s", i, salt)})
	case 1:
		return set(object{"type": "snapshot", "count": i, "date": "2024-02-29", "digest": text, "profile": "conda-repodata-1",
			"source": []string{"json", "shards"}[i/25%2], "subdir": []string{"noarch", "linux-64"}[i/25%2]})
	case 2:
		return set(object{"type": "end", "next": nil, "note": fmt.Sprint(salt, i)})
	case 3:
		return set(object{"type": "tombstone", "name": name, "path": fmt.Sprint(path, i), "profile": "conda-repodata-1", "reason": "removed"})
	case 4:
		return set(object{"type": "tombstone", "path": fmt.Sprint(path, i), "profile": "conda-repodata-1", "reason": "vanished"})
	case 5:
		return set(object{"type": "record", "artifact": object{"sha256": text}, "meta": nil, "path": path, "profile": "conda-repodata-1",
			"meta_raw": object{"reason": "float", "sha256": text, "size": i}})
	case 6:
		return set(object{"type": "record", "artifact": object{"md5": text[:32]}, "path": path, "profile": "conda-repodata-1",
			"meta": object{"md5": strings.ToUpper(text[:32]), "name": "with/slash", "size": "7"}})
	case 7:
		return set(object{"type": "record", "artifact": object{}, "path": path, "profile": "conda-repodata-1", "meta": object{"n": i, "name": "", "salt": salt}})
	default:
		return set(object{"type": "record", "artifact": object{"md5": text[:32], "sha256": text, "size": i}, "path": path, "profile": "conda-repodata-1",
			"meta": object{"depends": []string{"python >=3.9"}, "md5": text[:32], "name": name, "sha256": text, "size": i, "summary": "</script>\u2028\u007f"}})
	}
}

// canonical writes a value after RFC 8785.
func canonical(value any) []byte {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // The values above can be written.
	}
	written := jsontext.Value(text)
	if err := written.Canonicalize(); err != nil {
		panic(err)
	}
	return written
}
