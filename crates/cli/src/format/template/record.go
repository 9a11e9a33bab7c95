// Records what Go's text/template makes of made-up templates, for `templates_answer_as_gos`.
//
//	go run record.go >goldens.jsonl
//
// One line each: the template, and its text or the step that failed. The choices are made by a fixed seed.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand"
	"os"
	"strings"
	"text/template"
)

const document = `{"Name":"web","Empty":"","Uni":"zażółć ß","Quote":"a\"b<c>&d'e","Words":"one two,three",
"N":5,"Z":0,"Neg":-3,"F":1.5,"Big":9007199254740993,"T":true,"Fa":false,"Nil":null,
"L":["x","y","z"],"EL":[],"Nums":[3,1,2],"M":{"k":"v","a":1,"n":{"x":[1,2]}},"EM":{},
"Objs":[{"ID":"1","Up":true},{"ID":"2","Up":false}]}`

// Docker's, by docker/cli templates/templates.go.
var functions = template.FuncMap{
	"json": func(v interface{}) string {
		var buffer bytes.Buffer
		encoder := json.NewEncoder(&buffer)
		encoder.SetEscapeHTML(false)
		encoder.Encode(v)
		return strings.TrimSpace(buffer.String())
	},
	"split": strings.Split,
	"join": func(list interface{}, separator string) (string, error) {
		switch list := list.(type) {
		case []string:
			return strings.Join(list, separator), nil
		case []interface{}:
			words := []string{}
			for _, word := range list {
				words = append(words, fmt.Sprint(word))
			}
			return strings.Join(words, separator), nil
		}
		return "", fmt.Errorf("no list")
	},
	"title": strings.Title,
	"lower": strings.ToLower,
	"upper": strings.ToUpper,
	"pad": func(source string, prefix, suffix int) string {
		if source == "" {
			return source
		}
		return strings.Repeat(" ", prefix) + source + strings.Repeat(" ", suffix)
	},
	"truncate": func(source string, length int) string {
		if len(source) < length {
			return source
		}
		return source[:length]
	},
}

// Numbers without a fraction are ints, as in docker's documents.
func plain(v interface{}) interface{} {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return int(i)
		}
		f, _ := v.Float64()
		return f
	case []interface{}:
		for i := range v {
			v[i] = plain(v[i])
		}
	case map[string]interface{}:
		for k := range v {
			v[k] = plain(v[k])
		}
	}
	return v
}

type maker struct {
	*rand.Rand
	vars []string
}

func (m *maker) one(of ...string) string { return of[m.Intn(len(of))] }

func (m *maker) text(d int) string {
	if d <= 0 {
		return m.one(".Name", ".Empty", ".Quote", ".Words", `"a b"`, "`raw`", `""`, `"\t\"q"`, ".M.k", "(index .L 1)", ".Uni", "$.Name")
	}
	switch m.Intn(13) {
	case 0:
		return "(upper " + m.text(d-1) + ")"
	case 1:
		return "(lower " + m.text(d-1) + ")"
	case 2:
		return "(title " + m.one(".Name", ".Words", `"o'neil x-y"`) + ")"
	case 3:
		return "(join " + m.list(d-1) + " " + m.one(`", "`, `""`, ".Name") + ")"
	case 4:
		return fmt.Sprintf("(pad %s %d %d)", m.text(d-1), m.Intn(4), m.Intn(4))
	case 5:
		return fmt.Sprintf("(truncate %s %d)", m.one(".Name", `"abcdef"`), m.Intn(3))
	case 6:
		return "(print " + m.any(d-1) + " " + m.any(d-1) + ")"
	case 7:
		return "(println " + m.any(d-1) + " " + m.any(d-1) + ")"
	case 8:
		return "(json " + m.any(d-1) + ")"
	case 9:
		return "(printf " + m.one(`"%s|%5s|%-5s|"`, `"%q%v%x"`, `"%.2s%v%s"`) + strings.Repeat(" "+m.text(d-1), 3) + ")"
	case 10:
		return "(printf " + m.one(`"%d|%5d|%-4d"`, `"%03d%x%v"`, `"%+d%o%b"`, `"%c%U%%%d"`) + strings.Repeat(" "+m.number(d-1), 3) + ")"
	case 11:
		return "(" + m.one("html", "urlquery", "js") + " " + m.text(d-1) + ")"
	default:
		return "(slice " + m.one(".Name", `"abcdef"`) + m.one(" 1", " 0 2", "") + ")"
	}
}

func (m *maker) number(d int) string {
	if d <= 0 {
		return m.one(".N", ".Z", ".Neg", "7", "-1", "0x1F", "(len .L)", ".M.a", "'a'", "1_000", "(index .Nums 0)")
	}
	return "(len " + m.one(m.text(d-1), m.list(d-1), ".M", ".EM") + ")"
}

func (m *maker) list(d int) string {
	if d > 0 && m.Intn(3) == 0 {
		return "(split " + m.text(d-1) + " " + m.one(`" "`, `","`, `""`, `"o"`) + ")"
	}
	return m.one(".L", ".EL", ".Nums", ".L", "(slice .L 1)", "(slice .Nums 0 2)")
}

func (m *maker) truth(d int) string {
	if d <= 0 {
		return m.one(".T", ".Fa", ".N", ".Z", ".Name", ".Empty", ".Nil", ".L", ".EL", ".M", ".EM", ".F", "true", "false")
	}
	switch m.Intn(6) {
	case 0:
		return "(not " + m.truth(d-1) + ")"
	case 1:
		return "(" + m.one("and", "or") + " " + m.truth(d-1) + " " + m.truth(d-1) + m.one("", " "+m.any(d-1)) + ")"
	case 2:
		return "(" + m.one("eq", "ne") + " " + m.text(d-1) + " " + m.text(d-1) + ")"
	case 3:
		return "(eq " + m.number(d-1) + strings.Repeat(" "+m.number(d-1), 1+m.Intn(2)) + ")"
	case 4:
		return "(" + m.one("lt", "le", "gt", "ge") + " " + m.number(d-1) + " " + m.number(d-1) + ")"
	default:
		return "(" + m.one("lt", "ge") + " " + m.text(d-1) + " " + m.text(d-1) + ")"
	}
}

func (m *maker) any(d int) string {
	if len(m.vars) > 0 && m.Intn(4) == 0 {
		return m.one(m.vars...)
	}
	switch m.Intn(9) {
	case 0, 1:
		return m.text(d)
	case 2:
		return m.number(d)
	case 3:
		return m.truth(d)
	case 4:
		return m.list(d)
	case 5:
		return m.one(".M", ".M.n", ".M.n.x", "(index .M \"k\")", "(index .M.n \"x\" 1)", ".Objs", "(index .Objs 0)", ".F", ".Big", ".Nil", "1.5", "1e3")
	case 6:
		// What there isn't, or isn't that.
		return m.one(".Nope", ".Name.X", "(index .L 9)", "(index .M \"zz\")", "$v", "(nofunc 1)", "(upper 1)", "(len .N)", "(lt .Name 1)", "(eq .L .L)", "nil", "(index .N 1)", "(slice .Name 5)", "(index .L \"a\")", "(eq .N .Name)", "(not)", "(and)")
	default:
		return m.text(d)
	}
}

// A pipeline.
func (m *maker) pipe(d int) string {
	switch m.Intn(6) {
	case 0:
		return m.any(d) + " | " + m.one("json", "print", `printf "%v"`, "len", "not", "html", "println 1")
	case 1:
		return m.text(d) + " | " + m.one("upper", "lower | title", "upper | printf \"%q\"", "len | printf \"%03d\"", "urlquery")
	default:
		p := m.any(d)
		if strings.HasPrefix(p, "(") && m.Intn(2) == 0 {
			p = p[1 : len(p)-1]
		}
		return p
	}
}

func (m *maker) act(inner string) string {
	return m.one("{{", "{{ ", "{{- ", "{{") + inner + m.one("}}", " }}", " -}}", "}}")
}

func (m *maker) body(d int) string {
	var out strings.Builder
	for n := 1 + m.Intn(3); n > 0; n-- {
		out.WriteString(m.one("", " a ", "\n", "x\ty", "", "{ } ", "é"))
		kind := m.Intn(14)
		if d <= 0 && kind > 5 {
			kind = 0
		}
		kept := m.vars
		switch kind {
		case 6, 7:
			out.WriteString(m.act("if " + m.pipe(1)))
			out.WriteString(m.body(d - 1))
			if m.Intn(3) == 0 {
				out.WriteString(m.act("else if "+m.pipe(1)) + m.body(d-1))
			}
			if m.Intn(2) == 0 {
				out.WriteString(m.act("else") + m.body(d-1))
			}
			out.WriteString(m.act("end"))
		case 8, 9:
			over := m.one(".L", ".EL", ".Nums", ".M", ".EM", ".Objs", ".M.n", ".Nil", m.list(1), m.any(1))
			head := over
			switch m.Intn(3) {
			case 0:
				head, m.vars = "$i, $e := "+over, append(kept, "$i", "$e")
			case 1:
				head, m.vars = "$e := "+over, append(kept, "$e")
			}
			out.WriteString(m.act("range " + head))
			out.WriteString(m.one("{{.}}", "[{{.}}]", "{{$.Name}}", "{{if eq (print .) \"y\"}}{{break}}{{end}}.", "{{if eq (print .) \"x\"}}{{continue}}{{end}}{{.}}", "{{with .}}{{.}}{{end}}", "<{{json .}}>"))
			for _, v := range m.vars[len(kept):] {
				out.WriteString("{{" + v + "}}")
			}
			m.vars = kept
			if m.Intn(2) == 0 {
				out.WriteString(m.act("else") + m.body(d-1))
			}
			out.WriteString(m.act("end"))
		case 10:
			head := m.pipe(1)
			if m.Intn(2) == 0 {
				head, m.vars = "$w := "+head, append(kept, "$w")
			}
			out.WriteString(m.act("with "+head) + m.one("{{.}}", "{{json .}}", "{{$.N}}"))
			m.vars = kept
			if m.Intn(2) == 0 {
				out.WriteString(m.act("else") + m.body(d-1))
			}
			out.WriteString(m.act("end"))
		case 11:
			out.WriteString(m.act("$x := "+m.pipe(1)) + "{{$x}}" + m.one("", m.act("$x = "+m.pipe(1))+"{{$x}}"))
		case 12:
			out.WriteString(m.one(`{{define "t"}}<{{.}}>{{end}}{{template "t" `+m.one(".Name", ".N", ".L", ".")+`}}`, `{{template "none"}}`, `{{block "b" .M}}{{.k}}{{end}}`, `{{define "u"}}u{{end}}`))
		case 13:
			out.WriteString(m.one("{{/* a comment */}}", "{{- /* trimmed */ -}} z", "{{/* open", "{{end}}", "{{if .T}}", "{{}}", "{{else}}", "{{.Name", "{{(.N}}", "{{.N)}}", "{{\"open}}", "{{$y}}", "{{break}}", "{{- }}", "{{3 4}}", "{{.N .L}}", "{{printf}}", "{{true | false}}"))
		default:
			out.WriteString(m.act(m.pipe(2)))
		}
	}
	return out.String()
}

func main() {
	decoder := json.NewDecoder(strings.NewReader(document))
	decoder.UseNumber()
	var data interface{}
	if err := decoder.Decode(&data); err != nil {
		panic(err)
	}
	data = plain(data)
	m := &maker{Rand: rand.New(rand.NewSource(6))}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	// What all of them are given.
	out.Encode(map[string]interface{}{"document": data})
	seen, count := map[string]bool{}, map[string]int{}
	for count[""] < 700 || count["parse"] < 60 || count["run"] < 140 {
		source := m.body(2)
		if len(source) > 240 || seen[source] {
			continue
		}
		seen[source] = true
		row := map[string]string{"template": source}
		var text bytes.Buffer
		t, err := template.New("").Funcs(functions).Option("missingkey=error").Parse(source)
		if err != nil {
			row["failed"] = "parse"
		} else if err := t.Execute(&text, data); err != nil {
			row["failed"] = "run"
		} else {
			row["text"] = text.String()
		}
		limit := map[string]int{"": 700, "parse": 60, "run": 140}[row["failed"]]
		if count[row["failed"]]++; count[row["failed"]] <= limit {
			out.Encode(row)
		}
	}
}
