#!/usr/bin/env node
// Runs this library and llama.cpp alternately on the same files and prints the ratios of their speeds; the machine's own drift cancels out in them.
//
// Set up once: in a scratch folder `npm install --ignore-scripts node-llama-cpp@3.22.1` and copy ../shared/bench/llamacpp.mjs there;
// build the command line with `dotnet build -c Release samples/DeepSeek.Cli`.
// Usage: node tests/DeepSeek.Benchmarks/compare.mjs --llamacpp FOLDER [--threads 2] [--prompt 512] [--generate 64] [--rounds 3] [--repetitions 3] [--json FILE] MODEL.gguf…
import {execFileSync} from "node:child_process";
import {appendFileSync} from "node:fs";
import {basename, dirname, join, resolve} from "node:path";
import {fileURLToPath} from "node:url";

const settings = {llamacpp: null, threads: "2", prompt: "512", generate: "64", rounds: "3", repetitions: "3", json: null};
const models = [];
for (let i = 2; i < process.argv.length; i++) {
    const name = process.argv[i].replace(/^--/, "");
    if (process.argv[i].startsWith("--") && name in settings) settings[name] = process.argv[++i];
    else models.push(resolve(process.argv[i]));
}
if (!settings.llamacpp || models.length === 0) {
    console.error("usage: compare.mjs --llamacpp FOLDER [--threads N] [--prompt N] [--generate N] [--rounds N] [--repetitions N] [--json FILE] MODEL.gguf…");
    process.exit(64);
}
const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
const cli = join(root, "samples", "DeepSeek.Cli", "bin", "Release", "net10.0", "DeepSeek.Cli.dll");
const lastLine = text => JSON.parse(text.trim().split("\n").pop());
const median = values => values.slice().sort((x, y) => x - y)[values.length >> 1];

function ours(model) {
    const r = lastLine(execFileSync("dotnet", [cli, "bench", "--json", "--mode", "default", "--model", model, "--threads", settings.threads, "--prompt", settings.prompt, "--generate", settings.generate, "--repetitions", settings.repetitions], {encoding: "utf8", stdio: ["ignore", "pipe", "ignore"]}));
    return {prefill: r.prefill_tokens_per_second, decode: r.decode_tokens_per_second, kernels: r.kernels};
}
function theirs(model) {
    const r = lastLine(execFileSync("node", ["llamacpp.mjs", model, settings.threads, settings.prompt, settings.generate, settings.repetitions], {encoding: "utf8", cwd: settings.llamacpp, stdio: ["ignore", "pipe", "ignore"]}));
    return {prefill: r["pp" + settings.prompt], decode: r["tg" + settings.generate]};
}

console.log(`| model (${settings.threads} threads) | prefill ${settings.prompt}: ours | llama.cpp | ratio | decode ${settings.generate}: ours | llama.cpp | ratio |\n|---|---|---|---|---|---|---|`);
for (const model of models) {
    const rounds = [];
    for (let i = 0; i < +settings.rounds; i++) {
        const pair = i % 2 === 0 ? {ours: ours(model), theirs: theirs(model)} : (t => ({ours: ours(model), theirs: t}))(theirs(model)); // the first one of a round alternates too
        rounds.push(pair);
        if (settings.json) appendFileSync(settings.json, JSON.stringify({model: basename(model), ...settings, ...pair}) + "\n");
    }
    const of = (who, what) => median(rounds.map(r => r[who][what])).toFixed(1);
    const ratio = what => median(rounds.map(r => r.ours[what] / r.theirs[what])).toFixed(2);
    console.log(`| ${basename(model)} | ${of("ours", "prefill")} | ${of("theirs", "prefill")} | **${ratio("prefill")}** | ${of("ours", "decode")} | ${of("theirs", "decode")} | **${ratio("decode")}** |`);
}
