// Gooffsets prints, as JSON, the field offsets of the runtime's g, m and gobuf by the DWARF of a Go program.
package main

import (
	"debug/dwarf"
	"debug/elf"
	"encoding/json"
	"log"
	"os"
)

func main() {
	file, err := elf.Open(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	data, err := file.DWARF()
	if err != nil {
		log.Fatal(err)
	}
	wanted := map[string]bool{"runtime.g": true, "runtime.m": true, "runtime.gobuf": true}
	result := map[string]map[string]int64{}
	reader := data.Reader()
	for len(result) < len(wanted) {
		entry, err := reader.Next()
		if err != nil {
			log.Fatal(err)
		}
		if entry == nil {
			break
		}
		name, _ := entry.Val(dwarf.AttrName).(string)
		if entry.Tag != dwarf.TagStructType || !wanted[name] {
			continue
		}
		described, err := data.Type(entry.Offset)
		if err != nil {
			log.Fatal(err)
		}
		fields := map[string]int64{}
		for _, field := range described.(*dwarf.StructType).Field {
			fields[field.Name] = field.ByteOffset
		}
		result[name] = fields
	}
	if err := json.NewEncoder(os.Stdout).Encode(result); err != nil {
		log.Fatal(err)
	}
}
