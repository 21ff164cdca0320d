using Microsoft.Extensions.AI;

namespace DeepSeek.Extensions.Tests;

[Collection(Models.Collection)]
public class EmbeddingTests(Models models)
{
    [Theory]
    [InlineData(EmbeddingPooling.LastToken)]
    [InlineData(EmbeddingPooling.Mean)]
    public async Task TextsBecomeVectorsOfLengthOne(EmbeddingPooling pooling)
    {
        using IEmbeddingGenerator<string, Embedding<float>> generator = models.Tiny.AsIEmbeddingGenerator(pooling);
        string[] texts = ["O the heavens!", "What is 1 + 2?", "O the heavens!"];
        GeneratedEmbeddings<Embedding<float>> vectors = await generator.GenerateAsync(texts);
        Assert.Equal(3, vectors.Count);
        Assert.All(vectors, v =>
        {
            Assert.Equal(models.Tiny.Info.HiddenSize, v.Dimensions);
            Assert.Equal(models.Tiny.Info.Name, v.ModelId);
            Assert.Equal(1, Dot(v, v), 1e-4);
        });
        Assert.Equal(1, Dot(vectors[0], vectors[2]), 1e-2);
        Assert.True(Dot(vectors[0], vectors[1]) < 0.99);
        int begin = models.Tiny.Tokenizer.AddBeginningOfSequence ? 1 : 0; // what the model read, and not the words alone
        Assert.Equal(texts.Sum(t => models.Tiny.Tokenizer.CountTokens(t) + begin), vectors.Usage!.InputTokenCount);
    }

    /// <summary>The state of the last token knows of the end of a text, the mean of all of them says more of the whole.</summary>
    [Fact]
    public async Task PoolingsDiffer()
    {
        string[] texts = ["What is 1 + 2? What is 3 + 4?"];
        Embedding<float> last = (await models.Tiny.AsIEmbeddingGenerator().GenerateAsync(texts))[0], mean = (await models.Tiny.AsIEmbeddingGenerator(EmbeddingPooling.Mean).GenerateAsync(texts))[0];
        Assert.InRange(Dot(last, mean), -1, 0.95);
    }

    [Fact]
    public async Task WhatItCannotDoIsRefused()
    {
        IEmbeddingGenerator<string, Embedding<float>> generator = models.Tiny.AsIEmbeddingGenerator();
        Assert.Empty(await generator.GenerateAsync([]));
        await Assert.ThrowsAsync<InvalidOptionException>(() => generator.GenerateAsync(["x"], new EmbeddingGenerationOptions { Dimensions = 3 }));
        EmbeddingGeneratorMetadata metadata = generator.GetService<EmbeddingGeneratorMetadata>()!;
        Assert.Equal(("deepseek", models.Tiny.Info.Name, models.Tiny.Info.HiddenSize), (metadata.ProviderName, metadata.DefaultModelId, metadata.DefaultModelDimensions));
        Assert.Same(models.Tiny, generator.GetService<LanguageModel>());
        generator.Dispose();
        await Assert.ThrowsAsync<ObjectDisposedException>(() => generator.GenerateAsync(["x"]));
        Assert.NotEmpty(await models.Tiny.EmbedAsync(["x"]));
    }

    private static double Dot(Embedding<float> a, Embedding<float> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Vector.Length; i++) sum += a.Vector.Span[i] * b.Vector.Span[i];
        return sum;
    }
}
