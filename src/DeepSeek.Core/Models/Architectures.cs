using System.Text.Json;
using DeepSeek.Formats;

namespace DeepSeek.Models;

/// <summary>An architecture's entry: the names by which files call it, and how its model is bound.</summary>
/// <param name="Names">Values of config.json's model_type.</param>
/// <param name="ClassName">The name in config.json's architectures, for files without a model_type.</param>
/// <param name="Bind">Binds all weights; rejects what a checkpoint can get wrong.</param>
internal sealed record Architecture(string[] Names, string ClassName, Func<ModelSource, Model> Bind);

/// <summary>All architectures that this library runs.</summary>
internal static class Architectures
{
    private static readonly Architecture[] All =
        [Llama.Registration, Qwen2.Registration, Qwen3.Registration, Qwen3Moe.Registration, DeepSeekMoe.Registration, DeepSeekV2.Registration, DeepSeekV3.Registration];

    /// <summary>The architecture that a configuration names, by model_type, or by architectures where there is no model_type.</summary>
    /// <exception cref="UnsupportedModelException">It names none of these, or none at all.</exception>
    public static Architecture Find(ModelConfig config)
    {
        string? type = config.Text("model_type"), className = ClassName(config);
        Architecture? found = type is null ? Array.Find(All, a => a.ClassName == className) : Array.Find(All, a => a.Names.Contains(type));
        if (found is not null) return found;
        string seen = type is not null ? $"the architecture '{type}'" : className is not null ? $"the architecture '{className}'" : "no architecture ('model_type')";
        throw new UnsupportedModelException($"'{config.Source}' names {seen}; this library runs {string.Join(", ", All.SelectMany(a => a.Names))}.");
    }

    /// <summary>Binds the checkpoint's model to the backend.</summary>
    /// <exception cref="UnsupportedModelException">An architecture, or something in it, that is not implemented.</exception>
    /// <exception cref="InvalidModelFileException">Configuration and tensors contradict each other.</exception>
    public static Model Bind(ModelSource source) => Find(source.Config).Bind(source);

    private static string? ClassName(ModelConfig config)
        => config.Find("architectures") is { ValueKind: JsonValueKind.Array } list && list.GetArrayLength() > 0 && list[0].ValueKind == JsonValueKind.String ? list[0].GetString() : null;
}
