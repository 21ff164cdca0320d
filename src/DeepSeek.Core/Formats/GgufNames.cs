using System.Collections.Frozen;

namespace DeepSeek.Formats;

/// <summary>GGUF's names of tensors and Hugging Face's, both ways. Tables of https://github.com/ggml-org/llama.cpp/blob/master/gguf-py/gguf/constants.py.</summary>
internal static class GgufNames
{
    private const string Block = "blk.";

    /// <summary>What stands for an expert's number in the name of a stacked tensor.</summary>
    public const string Expert = "{e}";

    /// <summary>Outside the blocks.</summary>
    private static readonly (string Gguf, string HuggingFace)[] Outer =
    [
        ("token_embd.weight", "model.embed_tokens.weight"),
        ("output_norm.weight", "model.norm.weight"),
        ("output.weight", "lm_head.weight"),
    ];

    /// <summary>Inside block N, between <c>blk.N.</c> (<c>model.layers.N.</c>) and <c>.weight</c> or <c>.bias</c>.</summary>
    private static readonly (string Gguf, string HuggingFace)[] Inner =
    [
        ("attn_norm", "input_layernorm"), ("ffn_norm", "post_attention_layernorm"),
        ("attn_q", "self_attn.q_proj"), ("attn_k", "self_attn.k_proj"), ("attn_v", "self_attn.v_proj"), ("attn_output", "self_attn.o_proj"),
        ("attn_q_norm", "self_attn.q_norm"), ("attn_k_norm", "self_attn.k_norm"),
        ("attn_q_a", "self_attn.q_a_proj"), ("attn_q_a_norm", "self_attn.q_a_layernorm"), ("attn_q_b", "self_attn.q_b_proj"),
        ("attn_kv_a_mqa", "self_attn.kv_a_proj_with_mqa"), ("attn_kv_a_norm", "self_attn.kv_a_layernorm"), ("attn_kv_b", "self_attn.kv_b_proj"),
        ("attn_k_b", "self_attn.k_b_proj"), ("attn_v_b", "self_attn.v_b_proj"),
        ("indexer.attn_q_b", "self_attn.indexer.wq_b"), ("indexer.attn_k", "self_attn.indexer.wk"), ("indexer.k_norm", "self_attn.indexer.k_norm"), ("indexer.proj", "self_attn.indexer.weights_proj"),
        ("ffn_gate", "mlp.gate_proj"), ("ffn_up", "mlp.up_proj"), ("ffn_down", "mlp.down_proj"),
        ("ffn_gate_inp", "mlp.gate"),
        ("ffn_gate_exps", "mlp.experts.{e}.gate_proj"), ("ffn_up_exps", "mlp.experts.{e}.up_proj"), ("ffn_down_exps", "mlp.experts.{e}.down_proj"), ("ffn_gate_up_exps", "mlp.experts.{e}.gate_up_proj"),
        ("ffn_gate_shexp", "mlp.shared_experts.gate_proj"), ("ffn_up_shexp", "mlp.shared_experts.up_proj"), ("ffn_down_shexp", "mlp.shared_experts.down_proj"),
        ("nextn.eh_proj", "eh_proj"), ("nextn.embed_tokens", "embed_tokens"), ("nextn.enorm", "enorm"), ("nextn.hnorm", "hnorm"),
        ("nextn.shared_head_head", "shared_head.head"), ("nextn.shared_head_norm", "shared_head.norm"),
    ];

    /// <summary>DeepSeek-V4, whose published checkpoints have names of their own: whole names in a block.</summary>
    private static readonly (string Gguf, string HuggingFace)[] InnerV4 =
    [
        ("attn_norm.weight", "attn_norm.weight"), ("ffn_norm.weight", "ffn_norm.weight"), ("attn_sinks.weight", "attn.attn_sink"),
        ("attn_q_a.weight", "attn.wq_a.weight"), ("attn_q_a_norm.weight", "attn.q_norm.weight"), ("attn_q_b.weight", "attn.wq_b.weight"),
        ("attn_kv.weight", "attn.wkv.weight"), ("attn_kv_a_norm.weight", "attn.kv_norm.weight"), ("attn_output_a.weight", "attn.wo_a.weight"), ("attn_output_b.weight", "attn.wo_b.weight"),
        ("hc_attn_fn.weight", "hc_attn_fn"), ("hc_attn_base.weight", "hc_attn_base"), ("hc_attn_scale.weight", "hc_attn_scale"),
        ("hc_ffn_fn.weight", "hc_ffn_fn"), ("hc_ffn_base.weight", "hc_ffn_base"), ("hc_ffn_scale.weight", "hc_ffn_scale"),
        ("attn_compressor_kv.weight", "attn.compressor.wkv.weight"), ("attn_compressor_gate.weight", "attn.compressor.wgate.weight"),
        ("attn_compressor_ape.weight", "attn.compressor.ape"), ("attn_compressor_norm.weight", "attn.compressor.norm.weight"),
        ("indexer_compressor_kv.weight", "attn.indexer.compressor.wkv.weight"), ("indexer_compressor_gate.weight", "attn.indexer.compressor.wgate.weight"),
        ("indexer_compressor_ape.weight", "attn.indexer.compressor.ape"), ("indexer_compressor_norm.weight", "attn.indexer.compressor.norm.weight"),
        ("indexer.proj.weight", "attn.indexer.weights_proj.weight"), ("indexer.attn_q_b.weight", "attn.indexer.wq_b.weight"),
        ("ffn_gate_inp.weight", "ffn.gate.weight"), ("ffn_gate_tid2eid.weight", "ffn.gate.tid2eid"), ("exp_probs_b.bias", "ffn.gate.bias"),
        ("ffn_gate_exps.weight", "ffn.experts.{e}.w1.weight"), ("ffn_up_exps.weight", "ffn.experts.{e}.w3.weight"), ("ffn_down_exps.weight", "ffn.experts.{e}.w2.weight"),
        ("ffn_gate_shexp.weight", "ffn.shared_experts.w1.weight"), ("ffn_up_shexp.weight", "ffn.shared_experts.w3.weight"), ("ffn_down_shexp.weight", "ffn.shared_experts.w2.weight"),
    ];

    private static readonly (string Gguf, string HuggingFace)[] OuterV4 =
    [
        ("token_embd.weight", "embed.weight"), ("output_norm.weight", "norm.weight"), ("output.weight", "head.weight"),
        ("output_hc_fn.weight", "hc_head_fn"), ("output_hc_base.weight", "hc_head_base"), ("output_hc_scale.weight", "hc_head_scale"),
    ];

    private static readonly FrozenDictionary<string, string> FromGguf = Table(Outer, Inner, true, false), FromHuggingFace = Table(Outer, Inner, true, true);
    private static readonly FrozenDictionary<string, string> FromGgufV4 = Table(OuterV4, InnerV4, false, false), FromHuggingFaceV4 = Table(OuterV4, InnerV4, false, true);

    /// <summary>The Hugging Face name of a GGUF tensor; a name that is not in the tables stays as it is.</summary>
    public static string ToHuggingFace(string name, bool v4 = false)
    {
        FrozenDictionary<string, string> table = v4 ? FromGgufV4 : FromGguf;
        string layers = v4 ? "layers." : "model.layers.";
        if (table.TryGetValue(name, out string? outer)) return outer;
        return Split(name, Block) is var (number, inner) && table.TryGetValue(Block + inner, out string? to) ? $"{layers}{number}.{to}" : name;
    }

    /// <summary>The GGUF name of a Hugging Face tensor; experts' names hold <see cref="Expert"/> for the number. Null for one that is not in the tables.</summary>
    public static string? ToGguf(string name, bool v4 = false)
    {
        FrozenDictionary<string, string> table = v4 ? FromHuggingFaceV4 : FromHuggingFace;
        if (table.TryGetValue(name, out string? outer)) return outer;
        return Split(name, v4 ? "layers." : "model.layers.") is var (number, inner) && table.TryGetValue(Block + inner, out string? to) ? $"{Block}{number}.{to}" : null;
    }

    /// <summary>The number and the rest of <c>PREFIXnumber.rest</c>.</summary>
    private static (string Number, string Inner)? Split(string name, string prefix)
    {
        if (!name.StartsWith(prefix, StringComparison.Ordinal)) return null;
        int dot = name.IndexOf('.', prefix.Length);
        return dot > prefix.Length && name.AsSpan(prefix.Length, dot - prefix.Length).IndexOfAnyExceptInRange('0', '9') < 0 ? (name[prefix.Length..dot], name[(dot + 1)..]) : null;
    }

    private static FrozenDictionary<string, string> Table((string Gguf, string HuggingFace)[] outer, (string Gguf, string HuggingFace)[] inner, bool suffixes, bool reverse)
    {
        var table = new Dictionary<string, string>(StringComparer.Ordinal);
        void Add(string gguf, string huggingFace, string key) => table[key + (reverse ? huggingFace : gguf)] = reverse ? gguf : huggingFace;
        foreach ((string gguf, string huggingFace) in outer) Add(gguf, huggingFace, "");
        foreach ((string gguf, string huggingFace) in inner)
        {
            if (!suffixes) Add(gguf, huggingFace, Block);
            else foreach (string suffix in (string[])[".weight", ".bias"]) Add(gguf + suffix, huggingFace + suffix, Block);
        }
        if (suffixes) Add("exp_probs_b.bias", "mlp.gate.e_score_correction_bias", Block);
        return table.ToFrozenDictionary(StringComparer.Ordinal);
    }
}
